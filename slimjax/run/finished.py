"""The variables of a finished model: as a reader will have them, and as they write."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import to_host
from slimjax.processes import barrier
from slimjax.resize.shrink import fold
from slimjax.store.packed import iterate_packed, write_packed
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import Path as Names
from slimjax.trees import flatten, unflatten


def finish_weights(stage: Stage, state: TrainState, path: Path) -> tuple[PyTree, int]:
    """Packs the finished weights, and returns the variables that a reader will have.

    One weight at a time: of models on a mesh no process has more of them at once.

    Returns:
        The variables, with gates folded in, and the size of the file in bytes.
    """
    state = stage.layout.place_unstacked(stage.deterministic(state))
    weights = state.params["params"] if state.ema is None else state.ema
    gates, precision = to_host((state.params["gates"], state.precision))
    names, leaves = stage.blueprint.names["params"], flatten(weights)
    axes, open_gates = flatten(names), flatten(gates)

    def read(name: Names) -> np.ndarray:
        own = unflatten({name: to_host(leaves[name])})
        folded = fold(own, unflatten({name: axes[name]}), open_gates)
        return flatten(folded)[name]

    group_size = stage.blueprint.run.quantize.group_size
    write_packed(path, weights, names, precision, group_size, read=read)
    barrier("the packed file")
    opened = jax.tree.map(np.ones_like, gates)
    packed = stage.layout.place_each("params", iterate_packed(path))
    variables = stage.place({"params": packed, "gates": opened})
    return variables, path.stat().st_size


def variables_to_write(stage: Stage, variables: PyTree) -> PyTree:
    """Returns variables with which texts are written, each layer's by themselves.

    They stay where they lie, and all processes write the same. Where devices have one
    memory, one of them is faster alone.
    """
    apart = stage.layout.place_unstacked(variables)
    return to_host(apart) if _have_one_memory() else apart


def _have_one_memory() -> bool:
    """Whether all devices are those of one CPU."""
    return jax.process_count() == 1 and jax.default_backend() == "cpu"
