"""Runs: layers of one shape that follow each other, and their weights as one.

Where a run is compiled as a loop, the weights of its layers lie *stacked*, one array
for each weight of the layer with the layers as its first axis:

    layer_0/mlp/up [D F], layer_1/mlp/up [D F]  ->  layers_0_1/mlp/up [2 D F]

so that neither the loop nor the optimizer grows with depth. Gates are small, and
strategies know each layer's by its name: they stay apart. So does everything outside of
the compiled programs, whatever the layers look like: seams, checkpoints, exports.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.nn import platforms
from slimjax.nn.axes import numpy_of

SHORTEST_SCAN = 4
"""Equal layers from which ``scan_layers="auto"`` makes a loop, but on a CPU."""

SHORTEST_SCAN_CPU = 16
"""The same on a CPU, where a loop compiles longer than a few layers."""

LAYER = "layer"
"""Name of the axis along which the layers of a run are stacked."""

Run = tuple[int, ...]
"""Numbers of the layers of a run."""


def runs_of(layers: tuple[LayerConfig, ...]) -> Iterator[tuple[LayerConfig, Run]]:
    """Yields each longest run of equal layers: their shape and their numbers.

    Examples:
        >>> a, b = LayerConfig(2, 2, 4, 8), LayerConfig(2, 1, 4, 8)
        >>> [numbers for _, numbers in runs_of((a, a, b, a))]
        [(0, 1), (2,), (3,)]
    """
    for shape, run in itertools.groupby(enumerate(layers), key=lambda pair: pair[1]):
        yield shape, tuple(number for number, _ in run)


def is_scanned(config: ModelConfig, num_layers: int) -> bool:
    """Whether so many equal layers are compiled as a loop, on the target's platform."""
    if config.scan_layers != "auto":
        return bool(config.scan_layers) and num_layers > 1
    is_cpu = platforms.target_platform() == "cpu"
    return num_layers >= (SHORTEST_SCAN_CPU if is_cpu else SHORTEST_SCAN)


def scanned_runs(config: ModelConfig) -> tuple[Run, ...]:
    """Returns the runs of a model that are compiled as loops."""
    runs = (numbers for _, numbers in runs_of(config.layers))
    return tuple(run for run in runs if is_scanned(config, len(run)))


def run_name(run: Run) -> str:
    """Returns the name under which a run's stacked weights stand.

    Examples:
        >>> run_name((2, 3, 4))
        'layers_2_4'
    """
    return f"layers_{run[0]}_{run[-1]}"


def stack(tree: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns a state or variables with the weights of runs stacked.

    So are moments and averages of weights; what is stacked already stays so.
    """

    def stack_runs(layers: dict[str, Any]) -> dict[str, Any]:
        for run in runs:
            layers = stack_run(layers, run)
        return layers

    return _map_layers(stack_runs, tree, {_names(run)[0] for run in runs})


def stack_run(layers: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Returns a collection, by names of layers, with those of one run stacked."""
    names = _names(run)
    own = [layers[name] for name in names if name in layers]
    rest = {name: tree for name, tree in layers.items() if name not in names}
    return rest | {run_name(run): jax.tree.map(_stack, *own)} if own else rest


def unstack(tree: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns what `stack` was given: each layer with arrays of its own."""

    def unstack_runs(layers: dict[str, Any]) -> dict[str, Any]:
        for run in runs:
            own = layers.get(run_name(run))
            if own is not None:
                rest = {k: v for k, v in layers.items() if k != run_name(run)}
                each = lambda i, own=own: jax.tree.map(lambda leaf: leaf[i], own)
                layers = rest | {name: each(i) for i, name in enumerate(_names(run))}
        return layers

    return _map_layers(unstack_runs, tree, {run_name(run) for run in runs})


def stack_names(names: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns the names of weights' axes, those of stacked ones among them."""
    stacked = {
        run_name(run): jax.tree.map(
            lambda own: (LAYER, *own),
            names[_names(run)[0]],
            is_leaf=lambda node: isinstance(node, tuple),
        )
        for run in runs
        if _names(run)[0] in names
    }
    return {**names, **stacked}


def is_stacked(keys: tuple) -> bool:
    """Whether a key path of `jax.tree_util` leads to a weight of a whole run."""
    return any(str(getattr(key, "key", "")).startswith("layers_") for key in keys)


def _names(run: Run) -> list[str]:
    return [f"layer_{i}" for i in run]


def _stack(*leaves: Any) -> Any:
    return numpy_of(leaves[0]).stack(leaves)


def _map_layers(fn: Callable, tree: PyTree, marks: set[str]) -> PyTree:
    """Applies `fn` to dicts of layers, those of gates excepted."""
    holds = lambda node: isinstance(node, dict) and not marks.isdisjoint(node)

    def visit(keys: tuple, node: Any) -> Any:
        of_gates = any(getattr(key, "key", None) == "gates" for key in keys)
        return fn(node) if holds(node) and not of_gates else node

    return jax.tree_util.tree_map_with_path(visit, tree, is_leaf=holds)
