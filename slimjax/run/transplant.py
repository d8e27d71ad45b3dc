"""The state of a run in the stage of another: what has the same place is taken over.

An optimizer's state is matched by its kind and by the paths of parameters, not by its
place in a chain: a branch may clip, penalise or price what the run before it did not.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.distill.peer import PEER
from slimjax.nn.axes import to_host
from slimjax.strategies.hard_concrete import LagrangianState
from slimjax.strategies.size_decay import SizeDecayState
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState

INJECTED = optax.InjectStatefulHyperparamsState
"""State of settings that may change, such as a price; the new config has its own."""

CLOCKS = (optax.ScaleByScheduleState, LagrangianState, SizeDecayState, INJECTED)
"""States whose count says where a schedule or a budget is: at the step of the run."""

WRAPPERS = (optax.transforms.PartitionState, optax.MaskedState)
"""States that hold the states of other optimizers, and nothing of their own."""

Address = tuple[str, type, int]
"""Group of parameters, kind of state, and which of its kind in that group."""


def transplant(stage: Stage, before: Stage, old: TrainState) -> TrainState:
    """Returns the first state of a branch, on the host.

    Where gates mean something else in the strategy before, those of its evaluation are
    taken, and what the optimizer knows of them is left behind.

    Args:
        stage: The stage of the branch.
        before: The stage of the run that it continues.
        old: The state of that run.
    """
    strategies = stage.blueprint.strategy, before.blueprint.strategy
    means_same = len({one.deterministic_gates for one in strategies}) == 1
    old = to_host(old)
    gates, fixed = old.params["gates"], strategies[1].deterministic_gates
    if fixed is not None and not means_same:
        gates = to_host(fixed(gates))
    params = {"params": old.params["params"], "gates": gates}
    fresh = to_host(stage.layout.place_unstacked(stage.start(params)))
    own, theirs = fresh.params.get(PEER, {}), old.params.get(PEER, {})
    shapes = ({name: leaf.shape for name, leaf in p.items()} for p in (own, theirs))
    if next(shapes) == next(shapes):
        own |= theirs
    opt_state = carry_over(
        fresh.opt_state,
        old.opt_state,
        int(old.step),
        left_out=() if means_same else ("gates",),
    )
    ema = old.ema if fresh.ema is not None and old.ema is not None else fresh.ema
    rounded = fresh.precision is not None and old.precision is not None
    precision = old.precision if rounded else fresh.precision
    return TrainState(old.step, fresh.params, opt_state, ema, precision, fresh.health)


def carry_over(
    fresh: PyTree, old: PyTree, step: int, *, left_out: Collection[str] = ()
) -> PyTree:
    """Returns an optimizer's state with all that another one knows.

    Moments without a counterpart start at zero, with their count; clocks without one
    are set to the step.

    Args:
        fresh: The state at step 0 of the optimizer that goes on.
        old: The state of the one before, which may be another chain.
        step: Steps taken.
        left_out: Groups of parameters of which nothing is taken over.

    Examples:
        >>> import jax.numpy as jnp
        >>> weight, rate = jnp.ones(2), lambda step: 0.1
        >>> group = lambda *links: optax.partition({"w": optax.chain(*links)}, "w")
        >>> before = group(optax.clip(1.0), optax.scale_by_adam())
        >>> _, old = before.update(weight, before.init(weight))
        >>> after = group(optax.scale_by_adam(), optax.scale_by_schedule(rate))
        >>> state = carry_over(after.init(weight), old, 7).inner_states["w"].inner_state
        >>> int(state[0].count), int(state[1].count), state[0].mu.round(3)
        (1, 7, Array([0.1, 0.1], dtype=float32))
    """
    found = {place: node for place, node in _nodes(old) if place[0] not in left_out}
    carried = [_carry(node, found.get(place), step) for place, node in _nodes(fresh)]
    tree = jax.tree.structure(fresh, is_leaf=_is_state)
    return jax.tree.unflatten(tree, carried)


def _nodes(opt_state: PyTree) -> Iterator[tuple[Address, Any]]:
    """Yields the states of single optimizers, each with what it is matched by."""
    seen: Counter[tuple[str, type]] = Counter()
    nodes = jax.tree_util.tree_leaves_with_path(opt_state, is_leaf=_is_state)
    for keys, node in nodes:
        group = next((str(k.key) for k in keys if hasattr(k, "key")), "")
        kind = group, type(node)
        yield (*kind, seen[kind]), node
        seen[kind] += 1


def _is_state(node: Any) -> bool:
    is_record = isinstance(node, tuple) and hasattr(node, "_fields")
    return is_record and not isinstance(node, WRAPPERS)


def _carry(fresh: Any, before: Any, step: int) -> Any:
    """Returns one state with what the one before knows, leaf by leaf of a shape."""
    if before is None:
        is_clock = isinstance(fresh, CLOCKS)
        return jax.tree.map(lambda x: _set_to(x, step), fresh) if is_clock else fresh
    known = dict(jax.tree_util.tree_leaves_with_path(before))

    def keep(keys: tuple, leaf: Any) -> Any:
        found = known.get(keys)
        same = found is not None and np.shape(found) == np.shape(leaf)
        return found if same else leaf

    carried = jax.tree_util.tree_map_with_path(keep, fresh)
    if isinstance(fresh, INJECTED):
        return carried._replace(hyperparams=fresh.hyperparams)
    return carried


def _set_to(leaf: Any, step: int) -> Any:
    """Returns a count at a step; of anything else, what it is."""
    is_count = np.issubdtype(np.asarray(leaf).dtype, np.integer)
    return np.full_like(leaf, step) if is_count else leaf
