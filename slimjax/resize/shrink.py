"""Folding gates into weights, and cutting out what is closed.

All of it takes host arrays, for one device: every leaf has a shape of its own, and
compiling would take longer than the work. And it takes arrays of a program that is
being compiled, for a mesh: there it is done where the arrays lie, with the same bits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import constrain, is_filters, numpy_of
from slimjax.nn.gates import PAST, SUBLAYER, axis_gates, is_shared, is_width
from slimjax.resize.plan import NEW, Change
from slimjax.trees import AxisNames, Path, flatten, unflatten

Scale = Callable[[Any, Any], Any]

ANSWERS = ("vocab", "classes")
"""Axes of what a head chooses among, the first ones of its table."""

POOLED = "pooled"
"""The axis of what a pooler makes of the last residual stream."""


def fold(
    tree: PyTree,
    names: PyTree,
    gates: Mapping[Path, Any],
    scale: Scale = lambda weight, gate: weight * gate,
) -> PyTree:
    """Moves gates into the weights that write what they govern.

    A gate scales what its unit writes: weights that `writes` names. With all gates at 1
    afterwards, the model computes what it did.

    Args:
        tree: Weights, or anything of their structure, such as Adam's moments.
        names: Names of the axes of the weights.
        gates: All gates by path.
        scale: How a gate g changes an entry w: ``w * g`` for weights.
    """
    axes = flatten(names)
    leaves = {
        path: scale(leaf, written_gate(path, leaf.shape, axes[path], gates))
        if writes(axes[path])
        else leaf
        for path, leaf in flatten(tree).items()
    }
    return unflatten(leaves)


def writes(axes: AxisNames) -> bool:
    """Whether gates are folded into a weight with these axes.

    They are where units are written to a residual stream, its last axis, from any other
    axis, where recurrent units are written to their next state, where filters are read
    by those of the next stage, and where a head's table or its pooler reads what they
    hold. Biases that write to a stream are
    ``[1 D]``, with an axis of their own, and so are among them.

    Examples:
        >>> [writes(axes) for axes in (("mlp", "embed"), ("bias", "embed"))]
        [True, True]
        >>> [writes(axes) for axes in (("embed", "mlp"), ("embed", "embed"))]
        [False, False]
    """
    if len(axes) < 2:
        return False
    to_stream = axes[0] == PAST or (is_width(axes[-1]) and axes[0] != axes[-1])
    to_stream = to_stream or (is_filters(axes[-1]) and is_filters(axes[-2]))
    return to_stream or axes[0] in ANSWERS or axes[-1] == POOLED


def written_gate(
    path: Path, shape: tuple[int, ...], axes: AxisNames, gates: Mapping[Path, Any]
) -> Any:
    """Returns the product of a weight's gates, in a shape that broadcasts to it.

    If it writes to a residual stream, those of a stream that it reads are not among
    them: what wrote to that stream has them. If it writes to the next state of
    recurrent units, they are those of the state that it reads; if to the next filters,
    those of the filters that it reads. A bias is closed with the last unit beside it
    (`slimjax.nn.gates.write_bias`).
    """
    if axes[0] == PAST:
        units = axis_gates(path, PAST, shape[0], gates)
        return _as_float32(units, list(range(1, len(shape))))
    product: Any = np.ones((1,) * len(shape), np.float32)
    for i, (name, length) in enumerate(zip(axes, shape, strict=True)):
        is_left_out = is_width(name) and i < len(shape) - 1 and is_width(axes[-1])
        is_left_out = is_left_out or (is_filters(name) and i == len(shape) - 1)
        units = None if is_left_out else axis_gates(path, name, length, gates)
        if units is not None:
            others = [j for j in range(len(shape)) if j != i]
            product = product * _as_float32(units, others)
    for depth in range(len(path)):
        whole = gates.get((*path[:depth], SUBLAYER))
        product = product if whole is None else product * _as_float32(whole, [])
    return product * _some_open(path, gates) if axes[0] == "bias" else product


def _some_open(path: Path, gates: Mapping[Path, Any]) -> Any:
    """Returns 1 if some unit beside a bias is open, or if there are none; 0 if not."""
    product: Any = np.float32(1)
    for own, gate in gates.items():
        is_unit = own[-1] != SUBLAYER and not is_shared(own[-1])
        if own[:-1] == path[:-1] and is_unit:
            units = axis_gates(path, own[-1], len(gate), gates)
            product = product * _as_float32(numpy_of(units).max(units) > 0, [])
    return product


def _as_float32(units: Any, axes: list[int]) -> Any:
    xp = numpy_of(units)
    return xp.expand_dims(xp.asarray(units, np.float32), axes)


def cut(tree: PyTree, names: PyTree, plan: Change) -> PyTree:
    """Returns a tree without what a change removes.

    Args:
        tree: Weights, gates, or anything of the structure of either, by nested names.
        names: Names of the axes of each leaf.
        plan: The change.
    """
    axes = flatten(names)
    return unflatten(
        {
            path: take(leaf, plan.indices(path, leaf.shape, axes[path]), axes[path])
            for path, leaf in flatten(tree).items()
            if not plan.drops(path)
        }
    )


def take(leaf: Any, indices: list[np.ndarray | None], axes: AxisNames) -> Any:
    """Returns the entries of a leaf from the given indices of each axis.

    Those of new units are 0.
    """
    xp = numpy_of(leaf)
    if xp is not np:  # Devices exchange what is cut before, and only select after.
        pairs = zip(axes, indices, strict=True)
        leaf = constrain(
            leaf, *(name if kept is None else None for name, kept in pairs)
        )
    for axis, kept in enumerate(indices):
        if kept is None:
            continue
        leaf = xp.take(leaf, kept, axis=axis, mode="clip")
        if (kept == NEW).any():
            others = [i for i in range(leaf.ndim) if i != axis]
            leaf = leaf * np.expand_dims(kept != NEW, others).astype(leaf.dtype)
    return leaf
