"""The model layer by layer: what is left of every layer, and which seam took the rest.

The drawing has one coordinate system, in inches from the upper left corner, so that a
square is a square and text keeps its place whatever the number of layers.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from slimjax.report import style
from slimjax.report.layers import Row, list_rows
from slimjax.report.quantities import format_count
from slimjax.report.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALL_ROW, FLAT_ROW = 0.40, 0.165  # Heights of a row, in inches.
ROOM_FOR_ROWS = 5.2  # Inches; more layers get flatter rows, down to FLAT_ROW.
TOP, BOTTOM = 0.50, 0.50  # Inches for the headings and for the legend.
HEADS_WIDE, GAP, LETTER = 3.05, 0.20, 0.075  # Inches; a gap is right of labels.
HEADS_TEXT, MLP_TEXT = 1.55, 1.40  # Inches for the words at the right of a drawing.
MAX_SQUARES = 32  # More heads than this are drawn as a bar.
MIN_NUMBERED = 0.14  # Inches; a smaller box has no room for the number of its seam.


class Piece(NamedTuple):
    """Neighbouring units of one fate: from `start` to `stop`, kept, cut or grown."""

    start: float
    stop: float
    fate: str
    seam: int | None = None


def plot_structure(run: Run) -> "Figure":
    """Draws each layer's heads and MLP width: kept, cut (at which seam) and grown.

    Only numbers of units are recorded, so the units that are left stand together at
    the left, wherever they were in the layer.
    """
    rows = list_rows(run.architectures) or [Row("0", [0.0], [0.0])]
    depth, start = len(rows), label_width([row.label for row in rows])
    height = row_height(depth)
    most_heads = _largest([row.heads for row in rows])
    widest = _largest([row.hidden for row in rows])
    pitch = min(height, HEADS_WIDE / most_heads)
    mlp_at = start + pitch * most_heads + HEADS_TEXT
    unit = (style.WIDTH_IN - MLP_TEXT - mlp_at) / widest

    figure, axes = make_canvas(TOP + depth * height + BOTTOM)
    pen = Pen(axes, height, numbered=len(run.architectures) == len(run.stages))
    is_filters = all("filters" in row.label for row in rows)
    hidden = "filters" if is_filters else "MLP width, hidden units"
    has_heads = any(row.heads for row in rows)
    pen.write_headings(start if has_heads else None, mlp_at, hidden)
    draw_heads = pen.draw_bar if most_heads > MAX_SQUARES else pen.draw_squares
    for index, row in enumerate(rows):
        y = TOP + (index + 0.5) * height
        if shows_number(index, depth, height):
            pen.write(start - GAP, y, row.label, ha="right")
        draw_heads(start, y, pitch, row.heads)
        pen.draw_bar(mlp_at, y, unit, row.hidden)
        x = start + pitch * most_heads + 0.1
        pen.describe(x, y, row.heads, "attention")
        pen.describe(mlp_at + unit * widest + 0.1, y, row.hidden, "MLP")
    all_counts = [counts for row in rows for counts in (row.heads, row.hidden)]
    pen.draw_legend(start, TOP + depth * height + 0.28, all_counts)
    return figure


def label_width(labels: list[str]) -> float:
    """Returns where drawings begin, in inches: right of the longest label."""
    return min(0.36 + GAP + LETTER * max(map(len, labels), default=1), 2.0)


def split_by_fate(counts: list[float]) -> list[Piece]:
    """Splits a row of units by what happened to them over the stages.

    Args:
        counts: Number of units in each stage, in order.

    Returns:
        Pieces from left to right: kept units, units that grew, cut units with the
        number of the seam that cut them last, from 1.

    Examples:
        >>> split_by_fate([8, 6, 5])
        [Piece(start=0, stop=5, fate='kept', seam=None), \
Piece(start=5, stop=6, fate='cut', seam=2), Piece(start=6, stop=8, fate='cut', seam=1)]
    """
    if not counts:
        return []
    first, last = counts[0], counts[-1]
    borders = sorted({0, *counts})
    pieces = []
    for start, stop in pairwise(borders):
        if stop <= min(first, last):
            fate, seam = "kept", None
        elif stop <= last:
            fate, seam = "grown", None
        else:
            fate = "cut"
            held = [index for index, count in enumerate(counts) if count >= stop]
            seam = held[-1] + 1
        if pieces and pieces[-1][2:] == (fate, seam):
            pieces[-1] = pieces[-1]._replace(stop=stop)
        else:
            pieces.append(Piece(start, stop, fate, seam))
    return pieces


def _largest(rows: list[list[float]]) -> float:
    return max([1.0, *(count for counts in rows for count in counts)])


def row_height(num_layers: int) -> float:
    """Returns the height of a layer's row, in inches: many layers get flat ones."""
    return min(TALL_ROW, max(FLAT_ROW, ROOM_FOR_ROWS / max(num_layers, 1)))


def shows_number(layer: int, num_layers: int, row: float) -> bool:
    """Whether there is room for the number of a layer: in flat rows, for some."""
    return row > 0.2 or layer % 4 == 0 or layer == num_layers - 1


def make_canvas(height_in: float) -> "tuple[Figure, Axes]":
    """Returns a figure with one pair of axes, in inches from the upper left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.WIDTH_IN, height_in), facecolor=style.WHITE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, style.WIDTH_IN)
    axes.set_ylim(height_in, 0)
    return figure, axes


class Pen:
    """Draws on one canvas, in sizes that suit the height of its rows.

    Attributes:
        axes: Where to draw, in inches from the upper left corner.
        row: Height of a row, in inches.
        numbered: Whether each seam is known, so that cut units can name theirs.
    """

    def __init__(self, axes: "Axes", row: float, *, numbered: bool):
        """Chooses the size of the text."""
        self.axes, self.row = axes, row
        self.numbered = numbered and 0.62 * row >= MIN_NUMBERED
        self.keeps_history = numbered
        self.text_pt = min(style.FONT_PT, 44 * row)

    def write(self, x: float, y: float, text: str, **look: Any) -> None:
        """Writes a line of text, in the middle of its height."""
        usual = {"va": "center_baseline", "color": style.INK, "fontsize": self.text_pt}
        self.axes.text(x, y, text, **(usual | look))

    def write_headings(self, heads_at: float | None, mlp_at: float, mlp: str) -> None:
        """Names the columns and their units; no heads where their place is None."""
        y, look = TOP - 0.18, {"fontsize": style.FONT_PT, "fontweight": "bold"}
        self.write(0.08, y, "layer", **look)
        if heads_at is not None:
            self.write(heads_at, y, "attention heads", **look)
        self.write(mlp_at, y, mlp, **look)

    def describe(self, x: float, y: float, counts: list[float], what: str) -> None:
        """Writes what is left, in numbers; nothing where the row has no such units."""
        if not counts:
            return
        start, end = counts[0], counts[-1]
        if start == end == 0:
            self.write(x, y, "none", color=style.MUTED)
        elif end == 0:
            self.write(x, y, f"{what} removed", color=style.RED)
        elif start == end:
            self.write(x, y, format_count(end), color=style.MUTED)
        elif end > start:
            self.write(x, y, f"{format_count(end)}, was {format_count(start)}")
        else:
            self.write(x, y, f"{format_count(end)} of {format_count(start)}")

    def draw_squares(self, x: float, y: float, pitch: float, counts: list[float]):
        """Draws a square a unit."""
        side = 0.80 * pitch
        for piece in self._split(counts):
            for unit in range(round(piece.start), round(piece.stop)):
                self._draw_box(x + unit * pitch, y, side, side, piece, counts[-1] == 0)

    def draw_bar(self, x: float, y: float, unit: float, counts: list[float]):
        """Draws a box for each piece, as wide as its number of units."""
        high = min(0.62 * self.row, 0.24)
        for piece in self._split(counts):
            left, wide = x + unit * piece.start, unit * (piece.stop - piece.start)
            self._draw_box(left, y, wide, high, piece, counts[-1] == 0)

    def draw_legend(self, x: float, y: float, rows: list[list[float]]) -> None:
        """Explains the boxes that occur."""
        fates = {piece.fate for counts in rows for piece in self._split(counts)}
        cut = "cut, at the seam of that number" if self.numbered else "cut"
        look = {"fontsize": style.FONT_PT, "color": style.MUTED}
        for fate, word in {"kept": "kept", "grown": "grown", "cut": cut}.items():
            if fate in fates:
                self._draw_box(x, y, 0.14, 0.14, Piece(0, 1, fate), False)
                self.write(x + 0.22, y, word, **look)
                x += 0.55 + 0.075 * len(word)

    def _split(self, counts: list[float]) -> list[Piece]:
        if self.keeps_history:
            return split_by_fate(counts)
        return split_by_fate([*counts[:1], *counts[-1:]])

    def _draw_box(self, x, y, wide: float, high: float, piece: Piece, is_gone: bool):
        from matplotlib.patches import Rectangle

        colors = {"kept": style.BLUE, "grown": style.GREEN, "cut": style.WHITE}
        face = colors[piece.fate]
        hollow = style.PALE_RED if is_gone else style.LINE
        edge = hollow if piece.fate == "cut" else face
        look = {"facecolor": face, "edgecolor": edge, "linewidth": 0.8}
        self.axes.add_patch(Rectangle((x, y - high / 2), wide, high, **look))
        if self.numbered and piece.seam and min(wide, high) >= MIN_NUMBERED:
            look = {"fontsize": style.SMALL_PT - 0.5, "color": style.MUTED}
            self.write(x + wide / 2, y, str(piece.seam), ha="center", **look)
