"""Bits layer by layer: how many units of each kind have how many bits.

A bar is as long as the number of units at the start. Its parts are the units of equal
bits, the most bits first; removed units are white.
"""

from typing import TYPE_CHECKING, Any

from slimjax.report import style
from slimjax.report.bit_rows import (
    KEYS,
    KINDS,
    BitRow,
    Parts,
    bits_of,
    count_rest,
    list_bit_rows,
)
from slimjax.report.quantities import format_count
from slimjax.report.read import Run
from slimjax.report.structure import (
    GAP,
    label_width,
    make_canvas,
    row_height,
    shows_number,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {2: "#fde725", 3: "#6ccd5a", 4: "#26828e", 6: "#3e5f95", 8: "#46307e"}
COLORS |= {16: "#440154"}
"""From few bits (light) to many (dark). The colours are near those of viridis: they
differ in grey, and for readers with a colour vision deficiency.

References:
    Smith and van der Walt, "A Better Default Colormap for Matplotlib", SciPy 2015.
"""

DARK = (4, 6, 8, 16)  # Bits whose colour needs white text.

LONG = {"heads": 1.50, "kv_heads": 1.30, "mlp": 2.45}  # Inches, the longest of each.
TEXT = 0.97  # Inches, for the words right of a bar.
TOP, BOTTOM, REST = 0.50, 0.45, 0.72  # Inches.
MIN_LABELLED = 0.15  # Inches; a shorter part has no room for its number.


def has_bits(run: Run) -> bool:
    """Whether the bits of units are known."""
    return any(bits_of(layer, key) for layer in run.architecture for key in KEYS)


def plot_bits(run: Run) -> "Figure":
    """Draws, for each layer and kind of unit, how many units have how many bits."""
    rows, rest = list_bit_rows(run), count_rest(run)
    row = row_height(len(rows))
    height = TOP + len(rows) * row + (REST if rest else 0.0) + BOTTOM
    figure, axes = make_canvas(height)
    most = {kind: _most(kind, rows) for kind in KINDS}
    places = _place([kind for kind in KINDS if most[kind]], rows)
    _write_headings(axes, places)
    for index, own in enumerate(rows):
        y = TOP + (index + 0.5) * row
        if shows_number(index, len(rows), row):
            _write(axes, places[""] - GAP, y, own.label, size=_size(row), ha="right")
        for kind, parts in own.parts.items():
            unit = places[f"{kind} long"] / most[kind]
            end = _draw_bar(axes, places[kind], y, min(0.62 * row, 0.24), unit, parts)
            _write(axes, end + 0.08, y, *_describe(parts), _size(row))
    left = places[""]
    if rest:
        _draw_rest(axes, TOP + len(rows) * row, rest, left)
    every = [rest, *(parts for own in rows for parts in own.parts.values())]
    _draw_legend(
        axes, height - 0.22, {bits for parts in every for bits, _ in parts}, left
    )
    return figure


def _place(kinds: list[str], rows: list[BitRow]) -> dict[str, float]:
    """Returns where each column begins and how long its bars are, in inches.

    The columns share the room that labels and words leave; ``""`` is where all begin.
    """
    start = label_width([row.label for row in rows])
    room = style.WIDTH_IN - start - TEXT * len(kinds)
    scale = room / sum(LONG[kind] for kind in kinds) if kinds else 1.0
    places, x = {"": start}, start
    for kind in kinds:
        long = min(scale, 1.0) * LONG[kind]
        places |= {kind: x, f"{kind} long": long}
        x += long + TEXT
    return places


def _most(kind: str, rows: list[BitRow]) -> float:
    """Returns the units of the longest bar of a kind."""
    every = [row.parts.get(kind, []) for row in rows]
    return max([0.0, *(float(sum(count for _, count in parts)) for parts in every)])


def _size(row: float) -> float:
    """Returns the size of words in a row of so many inches, in points."""
    return min(style.FONT_PT, 44 * row)


def _describe(parts: Parts) -> tuple[str, str]:
    """Returns a bar in words, and their colour."""
    kept = sum(count for bits, count in parts if bits)
    if not kept:
        return "removed", style.RED
    mean = sum(bits * count for bits, count in parts) / kept
    return f"{kept}: {mean:.1f} bits", style.INK


def _draw_bar(
    axes: "Axes", x: float, y: float, high: float, unit: float, parts: Parts
) -> float:
    """Draws the parts of a bar and returns where it ends."""
    from matplotlib.patches import Rectangle

    for bits, count in parts:
        wide = unit * count
        face, edge = (COLORS[bits], style.WHITE) if bits else (style.WHITE, style.LINE)
        look: Any = {"facecolor": face, "edgecolor": edge, "linewidth": 0.8}
        axes.add_patch(Rectangle((x, y - high / 2), wide, high, **look))
        if bits and wide >= MIN_LABELLED and high >= 0.12:
            color = style.WHITE if bits in DARK else style.INK
            at = x + wide / 2
            _write(axes, at, y, str(bits), color, style.SMALL_PT - 0.5, ha="center")
        x += wide
    return x


def _write_headings(axes: "Axes", places: dict[str, float]) -> None:
    y, look = TOP - 0.18, {"size": style.FONT_PT, "fontweight": "bold"}
    _write(axes, places[""] - GAP, y, "layer", ha="right", **look)
    for kind in (kind for kind in KINDS if kind in places):
        _write(axes, places[kind], y, KINDS[kind], **look)


def _draw_rest(axes: "Axes", y: float, rest: Parts, left: float) -> None:
    """Draws what stands in no layer, such as rows of the token table, in a bar."""
    total = sum(count for _, count in rest)
    title = f"all else (tables, norms, adapters), {format_count(total)} rows"
    look = {"size": style.FONT_PT, "fontweight": "bold"}
    _write(axes, left, y + 0.20, title, **look)
    unit = (style.WIDTH_IN - left - TEXT) / total
    end = _draw_bar(axes, left, y + 0.49, 0.24, unit, rest)
    mean = sum(bits * count for bits, count in rest) / total
    _write(axes, end + 0.08, y + 0.49, f"{mean:.1f} bits", size=style.FONT_PT)


def _draw_legend(axes: "Axes", y: float, shown: set[int], x: float) -> None:
    """Explains the parts that occur."""
    look = {"color": style.MUTED, "size": style.FONT_PT}
    for bits in sorted(shown, reverse=True):
        _draw_bar(axes, x, y, 0.14, 0.14, [(bits, 1)])
        _write(axes, x + 0.22, y, f"{bits} bits" if bits else "removed", **look)
        x += 0.85


def _write(
    axes: "Axes",
    x: float,
    y: float,
    text: str,
    color: str = style.INK,
    size: float = style.FONT_PT,
    **look: Any,
) -> None:
    usual = {"va": "center_baseline", "color": color, "fontsize": size}
    axes.text(x, y, text, **(usual | look))
