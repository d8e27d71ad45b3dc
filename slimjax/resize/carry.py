"""Carrying an optimizer's state through a cut of its parameters."""

from collections.abc import Container, Mapping
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.nn.axes import numpy_of
from slimjax.objective.curvature import WeightMoments
from slimjax.resize.factored import refactor, unfactor
from slimjax.resize.plan import Change
from slimjax.resize.shrink import fold, take
from slimjax.trees import Path, flatten, named_path, unflatten

MOMENTS: Mapping[type, Mapping[str, int]] = {
    optax.ScaleByAdamState: {"mu": 1, "nu": 2},
    optax.ScaleByLionState: {"mu": 1},
    optax.TraceState: {"trace": 1},
    WeightMoments: {"second": 2},
}
"""Fields of optimizers' states that are moments of gradients, and their powers."""


def carry_state(
    tx: optax.GradientTransformation,
    opt_state: PyTree,
    params: PyTree,
    names: PyTree,
    plan: Change,
    whole: Container[str] = (),
) -> PyTree:
    """Returns the state that `tx` would have without the units that are removed.

    Every entry that has the path and shape of a parameter (moments, traces) is cut as
    the parameter is; all others (counts, prices) stay as they are. Of adafactor the
    second moments are cut, and then averaged for the new shape
    (`slimjax.resize.factored`): its means were taken over the closed units too, so the
    next update is not exactly that of a model that never had them.

    Args:
        tx: The optimizer, the same before and after.
        opt_state: Its state before the cut.
        params: Parameters after the cut, ``{"params": ..., "gates": ...}``.
        names: Names of the axes of the parameters before the cut.
        plan: The change.
        whole: Collections that the change leaves alone.
    """
    axes = flatten(names)
    old = dict(_leaves(opt_state))

    def carry(keys: tuple, fresh: Any) -> Any:
        before = old[keys]
        if _is_factored(fresh):
            moments = dict(_leaves(unfactor(before)))
            kept = lambda inner, _: cut_leaf(inner, moments[inner])
            moments = jax.tree_util.tree_map_with_path(kept, fresh.v)
            return refactor(fresh._replace(count=before.count), moments)
        return cut_leaf(keys, before)

    def cut_leaf(keys: tuple, before: Any) -> Any:
        path = named_path(keys, axes)
        if path is None or before.ndim != len(axes[path]) or path[0] in whole:
            return before
        kept = plan.indices(path[1:], before.shape, axes[path])
        return take(before, kept, axes[path])

    fresh = jax.eval_shape(tx.init, params)
    return jax.tree_util.tree_map_with_path(carry, fresh, is_leaf=_is_factored)


def fold_moments(opt_state: PyTree, names: PyTree, gates: Mapping[Path, Any]) -> PyTree:
    """Returns the optimizer's state for weights into which `gates` were folded.

    With ``w' = g w`` a weight's gradient becomes 1 / g of what it was, and that of the
    gate, now 1, becomes g times what it was; first moments are of the gradient's order,
    second moments of its square. Where g is 0 the unit is about to be removed. Gates
    are float32.

    Args:
        opt_state: The state before.
        names: Names of the axes of the parameters.
        gates: All gates by path.
    """
    inverse = lambda m, g: m / numpy_of(g).where(g == 0, np.float32(1), g)

    def fold_group(moments: PyTree, power: int) -> PyTree:
        if _holds(moments, "params"):
            scale = lambda m, g: inverse(m, g**power)
            weights = fold(moments["params"], names["params"], gates, scale)
            return moments | {"params": weights}
        if _holds(moments, "gates"):
            scaled = {
                path: m * gates[path] ** power
                for path, m in flatten(moments["gates"]).items()
            }
            return moments | {"gates": unflatten(scaled)}
        return moments

    def fold_state(node: Any) -> Any:
        if _is_factored(node):
            return refactor(node, fold_group(unfactor(node), 2))
        powers = MOMENTS.get(type(node), {})
        folded = {k: fold_group(getattr(node, k), n) for k, n in powers.items()}
        return node._replace(**folded) if folded else node

    has_moments = lambda node: _is_factored(node) or type(node) in MOMENTS
    return jax.tree.map(fold_state, opt_state, is_leaf=has_moments)


def _is_factored(node: Any) -> bool:
    return isinstance(node, optax.FactoredState)


def _leaves(tree: PyTree) -> list[tuple[tuple, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_factored)


def _holds(moments: PyTree, collection: str) -> bool:
    return isinstance(moments, dict) and isinstance(moments.get(collection), dict)
