"""Bits layer by layer: how many units of each kind have how many bits.

A bar is as long as the number of units at the start. Its parts are the units of equal
bits, the most bits first; removed units are white.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slimjax.report import style
from slimjax.report.layers import shorten_label
from slimjax.report.quantities import format_count, number
from slimjax.report.read import Json, Run
from slimjax.report.structure import make_canvas, row_height, shows_number

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

KINDS = {"heads": "query heads", "kv_heads": "KV heads", "mlp": "MLP, hidden units"}
NAMES = {"heads": "num_heads", "kv_heads": "num_kv_heads", "mlp": "mlp_dim"}
AT = {"heads": 0.62, "kv_heads": 3.10, "mlp": 5.35}  # Inches, where bars begin.
LONG = {"heads": 1.50, "kv_heads": 1.30, "mlp": 2.45}  # Inches, the longest of each.
REST_LONG = AT["mlp"] + LONG["mlp"] - AT["heads"]
NUMBER_AT, TOP, BOTTOM, REST = 0.42, 0.50, 0.45, 0.72  # Inches.
MIN_LABELLED = 0.15  # Inches; a shorter part has no room for its number.

Parts = list[tuple[int, int]]
"""Bits and the number of units that have them; 0 bits for removed units."""


def has_bits(run: Run) -> bool:
    """Whether the bits of units are known."""
    return any(_bits_of(layer, kind) for layer in run.architecture for kind in KINDS)


def plot_bits(run: Run) -> "Figure":
    """Draws, for each layer and kind of unit, how many units have how many bits."""
    layers, start = run.architecture, (run.architectures or [[]])[0]
    row = row_height(len(layers))
    rest = count_rest(run)
    height = TOP + len(layers) * row + (REST if rest else 0.0) + BOTTOM
    figure, axes = make_canvas(height)
    most = {kind: _most(kind, layers, start) for kind in KINDS}
    text_pt, shown = min(style.FONT_PT, 44 * row), {bits for bits, _ in rest}
    _write_headings(axes, most)
    for index, layer in enumerate(layers):
        y = TOP + (index + 0.5) * row
        if shows_number(index, len(layers), row):
            _write(
                axes,
                NUMBER_AT,
                y,
                shorten_label(layer, index),
                size=text_pt,
                ha="right",
            )
        for kind in (k for k in KINDS if most[k]):
            before = start[index] if index < len(start) else {}
            parts = count_parts(_bits_of(layer, kind), _number_of(before, kind))
            shown |= {bits for bits, _ in parts}
            unit = LONG[kind] / most[kind]
            end = _draw_bar(axes, AT[kind], y, min(0.62 * row, 0.24), unit, parts)
            _write(axes, end + 0.08, y, *_describe(parts), text_pt)
    if rest:
        _draw_rest(axes, TOP + len(layers) * row, rest)
    _draw_legend(axes, height - 0.22, shown)
    return figure


def count_parts(bits: Sequence[int], start: float = 0.0) -> Parts:
    """Returns how many units have how many bits, the most first.

    Args:
        bits: Those of the units that are there.
        start: Number of units at the start.

    Examples:
        >>> count_parts([4, 2, 4], start=5)
        [(4, 2), (2, 1), (0, 2)]
    """
    parts = sorted(Counter(bits).items(), reverse=True)
    gone = int(start) - len(bits)
    return [*parts, (0, gone)] if gone > 0 else parts


def count_rest(run: Run) -> Parts:
    """Returns the bits of all units outside of layers: token rows and norms.

    They are what the last seam counted, without the layers' units; nothing where that
    is not known.
    """
    counted = run.taken_seams[-1].get("bits") if run.taken_seams else None
    if not isinstance(counted, dict):
        return []
    known = {b: number(counted, str(b)) or 0.0 for b in COLORS}
    in_layers = Counter(
        b for layer in run.architecture for k in KINDS for b in _bits_of(layer, k)
    )
    left = {b: int(count) - in_layers[b] for b, count in known.items()}
    is_sound = min(left.values()) >= 0
    return sorted(((b, n) for b, n in left.items() if n), reverse=True) * is_sound


def _bits_of(layer: Json, kind: str) -> list[int]:
    bits = layer.get("bits")
    own = bits.get(kind) if isinstance(bits, dict) else None
    own = own if isinstance(own, list) else []
    return [b for b in own if isinstance(b, int) and b in COLORS]


def _number_of(layer: Json, kind: str) -> float:
    there = layer.get("mlp" if kind == "mlp" else "attention") is not False
    return (number(layer, NAMES[kind]) or 0.0) if there else 0.0


def _most(kind: str, layers: list[Json], start: list[Json]) -> float:
    """Returns the units of the longest bar of a kind."""
    before = [_number_of(layer, kind) for layer in start]
    return max([0.0, *before, *(len(_bits_of(layer, kind)) for layer in layers)])


def _describe(parts: Parts) -> tuple[str, str]:
    """Returns a bar in words, and their colour."""
    kept = sum(count for bits, count in parts if bits)
    if not kept:
        return ("removed", style.RED) if parts else ("none", style.MUTED)
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


def _write_headings(axes: "Axes", most: dict[str, float]) -> None:
    look = {"fontweight": "bold"}
    pt = style.FONT_PT
    y = TOP - 0.18
    _write(axes, NUMBER_AT + 0.06, y, "layer", size=pt, ha="right", **look)
    for kind in (kind for kind in KINDS if most[kind]):
        _write(axes, AT[kind], y, KINDS[kind], size=pt, **look)


def _draw_rest(axes: "Axes", y: float, rest: Parts) -> None:
    """Draws the rows of the token table, and norms, in a bar of their own."""
    total = sum(count for _, count in rest)
    title = f"token table and norms, {format_count(total)} rows"
    look = {"size": style.FONT_PT, "fontweight": "bold"}
    _write(axes, AT["heads"], y + 0.20, title, **look)
    end = _draw_bar(axes, AT["heads"], y + 0.49, 0.24, REST_LONG / total, rest)
    mean = sum(bits * count for bits, count in rest) / total
    _write(axes, end + 0.08, y + 0.49, f"{mean:.1f} bits", size=style.FONT_PT)


def _draw_legend(axes: "Axes", y: float, shown: set[int]) -> None:
    """Explains the parts that occur."""
    x, look = AT["heads"], {"color": style.MUTED, "size": style.FONT_PT}
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
