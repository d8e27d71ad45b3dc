"""Taking an optimizer's state along when its parameters are cut."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.nn.axes import numpy_of
from slimjax.resize.plan import Change
from slimjax.resize.shrink import fold, take
from slimjax.trees import Path, flatten, named_path, unflatten


def carry_state(
    tx: optax.GradientTransformation,
    opt_state: PyTree,
    params: PyTree,
    names: PyTree,
    plan: Change,
) -> PyTree:
    """Returns the state that `tx` would have without the units that are removed.

    Every entry that has the path and shape of a parameter (moments, traces) is cut as
    the parameter is; all others (counts, prices) stay as they are.

    Args:
        tx: The optimizer, the same before and after.
        opt_state: Its state before the cut.
        params: Parameters after the cut, ``{"params": ..., "gates": ...}``.
        names: Names of the axes of the parameters before the cut.
        plan: The change.
    """
    axes = flatten(names)
    old = dict(jax.tree_util.tree_leaves_with_path(opt_state))

    def carry(keys: tuple, _: Any) -> Any:
        before = old[keys]
        path = named_path(keys, axes)
        if path is None or before.ndim != len(axes[path]):
            return before
        kept = plan.indices(path[1:], before.shape, axes[path])
        return take(before, kept, axes[path])

    fresh = jax.eval_shape(tx.init, params)
    return jax.tree_util.tree_map_with_path(carry, fresh)


def fold_moments(opt_state: PyTree, names: PyTree, gates: Mapping[Path, Any]) -> PyTree:
    """Returns Adam's state for weights into which `gates` were folded.

    With ``w' = g w`` a weight's gradient becomes 1 / g of what it was, and that of the
    gate, now 1, becomes g times what it was; first moments are of the gradient's order,
    second moments of its square. Where g is 0 the unit is about to be removed. Gates
    are float32.
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
        if not isinstance(node, optax.ScaleByAdamState):
            return node
        return node._replace(mu=fold_group(node.mu, 1), nu=fold_group(node.nu, 2))

    is_adam = lambda node: isinstance(node, optax.ScaleByAdamState)
    return jax.tree.map(fold_state, opt_state, is_leaf=is_adam)


def _holds(moments: PyTree, collection: str) -> bool:
    return isinstance(moments, dict) and isinstance(moments.get(collection), dict)
