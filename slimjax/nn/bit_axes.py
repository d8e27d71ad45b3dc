"""Which axis of a weight its bits belong to.

Bits are those of units: of heads, of hidden units, of filters, of rows of a vocabulary.
The weights of one module that name the same units share their bits.
"""

import functools

from slimjax.nn.axes import ONE_ROW, is_filters, is_shared, kind_of
from slimjax.nn.gates import PAST
from slimjax.trees import AxisNames, Path

BIT_AXES = ("heads", "kv_heads", "mlp", "state", "vocab", "filters")
"""Kinds of axes along which bits may differ, one for each matrix."""

STACKED = "layer"
"""The axis of layers whose weights are stacked."""


def is_matrix(axes: AxisNames) -> bool:
    """Whether a weight maps vectors, or is a table of them.

    Biases are none, whatever their shape, nor are tables of relative positions: their
    numbers are few, and each counts for many.

    Examples:
        >>> is_matrix(("embed", "heads", "head_dim")), is_matrix(("places", "embed"))
        (True, True)
        >>> is_matrix(("heads", "head_dim")), is_matrix(("bias", "embed"))
        (False, False)
    """
    own = [name for name in axes if name != STACKED]
    if len(own) < 2 or not set(own).isdisjoint(ONE_ROW):
        return False
    return PAST in own or any(map(is_shared, own)) or set(own).isdisjoint(BIT_AXES)


@functools.cache  # A search for what goes asks for millions of them.
def bit_axis(axes: AxisNames) -> int | None:
    """Returns which axis of a weight its bits belong to; None if it is one unit.

    A bias of a unit is not quantized with it: its row would be one number.

    Examples:
        >>> bit_axis(("embed", "mlp")), bit_axis(("embed",)), bit_axis(("mlp",))
        (1, None, None)
        >>> bit_axis(("rows", "columns", "filters_0", "filters_1"))  # Those it makes.
        3
    """
    if not is_matrix(axes):
        return None
    found = [i for i, name in enumerate(axes) if kind_of(name) in BIT_AXES]
    if found and is_filters(axes[-1]):
        return len(axes) - 1
    return found[0] if found else None


def bit_key(path: Path, axes: AxisNames) -> Path:
    """Returns where a weight's bits are kept: those of one module's units are shared.

    Examples:
        >>> bit_key(("encoder", "mlp", "up"), ("embed", "mlp"))
        ('encoder', 'mlp', 'mlp')
        >>> bit_key(("embed", "embedding"), ("vocab", "embed"))
        ('embed', 'embedding')
    """
    axis = bit_axis(axes)
    if axis is None or axes[axis] == "vocab":
        return path
    return (*path[:-1], axes[axis])
