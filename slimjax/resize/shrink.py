"""Folding gates into weights, and cutting out what is closed.

All of it takes host arrays, for one device: every leaf has a shape of its own, and
compiling would take longer than the work. And it takes arrays of a program that is
being compiled, for a mesh: there it is done where the arrays lie, with the same bits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import constrain, numpy_of
from slimjax.nn.gates import SUBLAYER, axis_gates
from slimjax.resize.plan import Plan
from slimjax.trees import AxisNames, Path, flatten, unflatten

Scale = Callable[[Any, Any], Any]


def fold(
    tree: PyTree,
    names: PyTree,
    gates: Mapping[Path, Any],
    scale: Scale = lambda weight, gate: weight * gate,
) -> PyTree:
    """Moves gates into the weights that write what they govern.

    A gate scales what its unit writes to the residual stream, hence the weights whose
    last axis is ``embed`` and which read from another one. With all gates at 1
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
        if _writes(axes[path])
        else leaf
        for path, leaf in flatten(tree).items()
    }
    return unflatten(leaves)


def _writes(axes: AxisNames) -> bool:
    return len(axes) > 1 and axes[-1] == "embed" and axes[0] != "embed"


def written_gate(
    path: Path, shape: tuple[int, ...], axes: AxisNames, gates: Mapping[Path, Any]
) -> Any:
    """Returns the product of a weight's gates, in a shape that broadcasts to it."""
    product: Any = np.ones((1,) * len(shape), np.float32)
    for i, (name, length) in enumerate(zip(axes, shape, strict=True)):
        units = axis_gates(path, name, length, gates)
        if units is not None:
            others = [j for j in range(len(shape)) if j != i]
            product = product * _as_float32(units, others)
    for depth in range(len(path)):
        whole = gates.get((*path[:depth], SUBLAYER))
        product = product if whole is None else product * _as_float32(whole, [])
    return product


def _as_float32(units: Any, axes: list[int]) -> Any:
    xp = numpy_of(units)
    return xp.expand_dims(xp.asarray(units, np.float32), axes)


def cut(tree: PyTree, names: PyTree, plan: Plan) -> PyTree:
    """Returns a tree without what the plan lets go.

    Args:
        tree: Weights, gates, or anything of the structure of either, by nested names.
        names: Names of the axes of each leaf.
        plan: What stays.
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
    """Returns the entries of a leaf that stand at the given indices of each axis."""
    xp = numpy_of(leaf)
    if xp is not np:  # Devices exchange what is cut before, and only select after.
        pairs = zip(axes, indices, strict=True)
        leaf = constrain(
            leaf, *(name if kept is None else None for name, kept in pairs)
        )
    for axis, kept in enumerate(indices):
        leaf = leaf if kept is None else xp.take(leaf, kept, axis=axis, mode="clip")
    return leaf
