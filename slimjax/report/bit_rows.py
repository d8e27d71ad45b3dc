"""How many units of each kind have how many bits, layer by layer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from slimjax.report.layers import count_units, label_of
from slimjax.report.quantities import number
from slimjax.report.read import Json, Run

STATES = (2, 3, 4, 6, 8, 16)
"""Bits that a unit can have."""

KINDS = {"heads": "query heads", "kv_heads": "KV heads", "mlp": "MLP, hidden units"}
"""Columns of the picture, and their headings."""

OWN = {"heads": ("attention", "num_heads"), "kv_heads": ("attention", "num_kv_heads")}
OWN |= {"mlp": ("mlp", "mlp_dim")}
"""The sublayer and what counts its units, by the name of their bits."""

CROSS = {"cross.heads": ("cross", "cross_heads")}
CROSS |= {"cross.kv_heads": ("cross", "cross_kv_heads")}
STATE = {"state": ("recurrent", "state_dim")}
ROWS = {"": OWN, "cross": CROSS, "state": STATE}
"""Rows of one layer: its own, that of its cross-attention and of its states."""

KEYS = tuple(key for names in ROWS.values() for key in names)
"""Names of all bits that stand in rows."""

COLUMNS = {"cross.heads": "heads", "cross.kv_heads": "kv_heads", "state": "mlp"}
"""The column of units that stand in a row of their own."""

Parts = list[tuple[int, int]]
"""Bits and the number of units that have them; 0 bits for removed units."""


class BitRow(NamedTuple):
    """The bits of one layer's units.

    Attributes:
        label: Its name in figures, such as ``3``, ``encoder 3`` or ``cross``.
        parts: By column, the units of equal bits and those that were removed; a column
            that the layer never had is absent.
    """

    label: str
    parts: dict[str, Parts]


def list_bit_rows(run: Run) -> list[BitRow]:
    """Returns a row for each layer, and more for its cross-attention and states."""
    first = (run.architectures or [[]])[0]
    before, rows = {label_of(layer): layer for layer in first}, []
    for layer in run.architecture:
        label = label_of(layer)
        for part, names in ROWS.items():
            start, columns = before.get(label, {}), {}
            for key, counted in names.items():
                parts = count_parts(bits_of(layer, key), count_units(start, *counted))
                if parts:
                    columns[COLUMNS.get(key, key)] = parts
            if columns or not part:
                rows.append(BitRow(part or label, columns))
    return rows


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
    """Returns the bits of all units in no row: those of tables, norms and adapters.

    They are what the last seam counted, without the layers' units; nothing where that
    is not known.
    """
    counted = run.taken_seams[-1].get("bits") if run.taken_seams else None
    if not isinstance(counted, dict):
        return []
    known = {b: number(counted, str(b)) or 0.0 for b in STATES}
    in_layers = Counter(
        b for layer in run.architecture for key in KEYS for b in bits_of(layer, key)
    )
    left = {b: int(count) - in_layers[b] for b, count in known.items()}
    is_sound = min(left.values()) >= 0
    return sorted(((b, n) for b, n in left.items() if n), reverse=True) * is_sound


def bits_of(layer: Json, key: str) -> list[int]:
    """Returns the known bits of a layer's units, one for each; what else is dropped."""
    bits = layer.get("bits")
    own: Any = bits.get(key) if isinstance(bits, dict) else None
    own = own if isinstance(own, list) else []
    return [b for b in own if isinstance(b, int) and b in STATES]
