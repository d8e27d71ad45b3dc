"""Runs: layers of one shape that follow each other, and their weights as one.

Where a run is compiled as a loop, the weights of its layers lie *stacked*, one array
for each weight of the layer with the layers as its first axis:

    layer_0/mlp/up [D F], layer_1/mlp/up [D F]  ->  layers_0_1/mlp/up [2 D F]

so that neither the loop nor the optimizer grows with depth. Gates are small, and
strategies know each layer's by its name: they stay unstacked. So does everything
outside of the compiled programs, whatever the layers look like: seams, checkpoints,
exports. Layers of another tower than the main one stand under its name, stacked or not.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import PyTree

from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.tower_config import TowerConfig
from slimjax.nn import platforms
from slimjax.nn.axes import numpy_of

SHORTEST_SCAN = 4
"""Equal layers from which ``scan_layers="auto"`` makes a loop, but on a CPU."""

SHORTEST_SCAN_CPU = 16
"""The same on a CPU, where a loop compiles longer than a few layers."""

LAYER = "layer"
"""Name of the axis along which the layers of a run are stacked."""

_RUN = re.compile(r"layers_(\d+)_(\d+)")

Numbers = tuple[int, ...]
"""Numbers of the layers of a run."""


class Run(NamedTuple):
    """Layers that are compiled as a loop.

    Attributes:
        tower: Name of their tower.
        numbers: Their numbers.
    """

    tower: str
    numbers: Numbers

    @property
    def name(self) -> str:
        """The name under which their stacked weights stand.

        Examples:
            >>> Run("", (2, 3, 4)).name
            'layers_2_4'
        """
        return f"layers_{self.numbers[0]}_{self.numbers[-1]}"

    @property
    def layers(self) -> list[str]:
        """The names of the layers."""
        return [layer_name(number) for number in self.numbers]


@runtime_checkable
class Model(Protocol):
    """What tells which layers there are: a `ModelConfig`."""

    @property
    def towers(self) -> tuple[TowerConfig, ...]:
        """The towers."""
        ...

    @property
    def scan_layers(self) -> str | bool:
        """Whether runs are compiled as loops."""
        ...


def runs_of(layers: tuple[LayerConfig, ...]) -> Iterator[tuple[LayerConfig, Numbers]]:
    """Yields each longest run of equal layers: their shape and their numbers.

    Examples:
        >>> a, b = LayerConfig(2, 2, 4, 8), LayerConfig(2, 1, 4, 8)
        >>> [numbers for _, numbers in runs_of((a, a, b, a))]
        [(0, 1), (2,), (3,)]
    """
    for shape, run in itertools.groupby(enumerate(layers), key=lambda pair: pair[1]):
        yield shape, tuple(number for number, _ in run)


def is_scanned(scan_layers: str | bool, num_layers: int) -> bool:
    """Whether so many equal layers are compiled as a loop, on the target's platform."""
    if scan_layers != "auto":
        return bool(scan_layers) and num_layers > 1
    is_cpu = platforms.target_platform() == "cpu"
    return num_layers >= (SHORTEST_SCAN_CPU if is_cpu else SHORTEST_SCAN)


def scanned_runs(config: Model) -> tuple[Run, ...]:
    """Returns the runs of a model whose weights are stacked, if they have any."""
    runs = [
        Run(tower.name, numbers)
        for tower in config.towers
        for shape, numbers in runs_of(tower.layers)
        if tower.style.norm_at == "output" or not shape.is_empty
    ]
    return tuple(r for r in runs if is_scanned(config.scan_layers, len(r.numbers)))


def stack(tree: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns a state or variables with the weights of runs stacked.

    So are moments and averages of weights; what is stacked already stays so.
    """
    return _map_runs(stack_run, tree, runs, lambda run: run.layers[0])


def stack_run(layers: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Returns a tower's variables, by names of layers, with those of a run stacked."""
    own = [layers[name] for name in run.layers if name in layers]
    rest = {name: tree for name, tree in layers.items() if name not in run.layers}
    return rest | {run.name: jax.tree.map(_stack, *own)} if own else rest


def unstack(tree: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns what `stack` was given: each layer with arrays of its own."""
    return _map_runs(_unstack_run, tree, runs, lambda run: run.name)


def _unstack_run(layers: Mapping[str, Any], run: Run) -> dict[str, Any]:
    if run.name not in layers:
        return dict(layers)
    rest, own = dict(layers), layers[run.name]
    del rest[run.name]
    each = lambda i: jax.tree.map(lambda leaf: leaf[i], own)
    return rest | {name: each(i) for i, name in enumerate(run.layers)}


def stack_names(names: PyTree, runs: tuple[Run, ...]) -> PyTree:
    """Returns the names of weights' axes, those of stacked ones among them."""

    def add(layers: Mapping[str, Any], run: Run) -> dict[str, Any]:
        own = jax.tree.map(
            lambda axes: (LAYER, *axes),
            layers[run.layers[0]],
            is_leaf=lambda node: isinstance(node, tuple),
        )
        return {**layers, run.name: own}

    return _map_runs(add, names, runs, lambda run: run.layers[0])


def numbers_of(path: tuple[str, ...]) -> tuple[str, Numbers] | None:
    """Returns the tower and the layers of a run whose stacked weights a path leads to.

    Examples:
        >>> numbers_of(("encoder", "layers_2_4", "mlp", "up"))
        ('encoder', (2, 3, 4))
    """
    for depth, name in enumerate(path[:2]):
        found = _RUN.fullmatch(name)
        if found:
            numbers = range(int(found[1]), int(found[2]) + 1)
            return "".join(path[:depth]), tuple(numbers)
    return None


def is_stacked(keys: tuple) -> bool:
    """Whether a key path of `jax.tree_util` leads to a weight of a whole run."""
    return any(str(getattr(key, "key", "")).startswith("layers_") for key in keys)


def _stack(*leaves: Any) -> Any:
    return numpy_of(leaves[0]).stack(leaves)


def _map_runs(
    fn: Callable[[Mapping[str, Any], Run], dict[str, Any]],
    tree: PyTree,
    runs: tuple[Run, ...],
    mark: Callable[[Run], str],
) -> PyTree:
    """Applies `fn` to the dict of layers of each run's tower, those of gates excepted.

    Args:
        fn: From a tower's layers, and a run, to new ones.
        tree: A state, or variables.
        runs: The runs.
        mark: The name by which a tower is known to hold a run.
    """

    def tower_of(node: Any, run: Run) -> Any:
        node = node.get(run.tower) if run.tower and isinstance(node, dict) else node
        return node if isinstance(node, dict) and mark(run) in node else None

    def visit(keys: tuple, node: Any) -> Any:
        if any(getattr(key, "key", None) == "gates" for key in keys):
            return node
        for run in runs:
            layers = tower_of(node, run)
            if layers is not None:
                new = fn(layers, run)
                node = {**node, run.tower: new} if run.tower else new
        return node

    holds = lambda node: any(tower_of(node, run) is not None for run in runs)
    return jax.tree_util.tree_map_with_path(visit, tree, is_leaf=holds)
