"""How a state lies: stacked by runs of layers, and spread over the mesh."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax.mesh.shardings import named_sharding, put, shardings
from slimjax.models.config import ModelConfig
from slimjax.models.runs import Run, scanned_runs, stack, stack_names, unstack
from slimjax.models.runs import is_stacked as is_stacked
from slimjax.nn.axes import is_spread
from slimjax.nn.quantize import PRECISION, precision_names
from slimjax.trees import Path, flatten, unflatten


def make_layout(
    names: PyTree, mesh: Mesh, model: ModelConfig, *, unstacked: bool
) -> "Layout":
    """Returns how a state lies in the programs of one shape of a model.

    Args:
        names: Names of the axes of all variables.
        mesh: The devices that programs are for.
        model: The shape.
        unstacked: Whether each layer has arrays of its own even where programs loop
            over layers: for what treats weights one by one, such as rounding.
    """
    weights = names["params"]
    names = {**names, "ema": weights, PRECISION: precision_names(weights)}
    if unstacked:
        return Layout(names, mesh)
    with jax.set_mesh(mesh):
        return Layout(names, mesh, scanned_runs(model))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where programs expect their arrays, and how the rest of the world has them.

    Attributes:
        names: Names of the axes of all that is named, each layer by itself.
        mesh: The devices.
        runs: Runs of layers whose weights are stacked for the programs.
    """

    names: PyTree
    mesh: Mesh
    runs: tuple[Run, ...] = ()

    def shardings(self, tree: PyTree) -> PyTree:
        """Returns how a state lies on the mesh, or a part of it under its own name."""
        stacked = {
            kind: stack_names(self.names[kind], self.runs) for kind in ("params", "ema")
        }
        return shardings(tree, {**self.names, **stacked}, self.mesh)

    def describe(self, tree: PyTree) -> PyTree:
        """Returns shapes with the shardings that they have."""
        return jax.tree.map(
            lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place),
            tree,
            self.shardings(tree),
        )

    def stack(self, tree: PyTree) -> PyTree:
        """Returns a state, or variables, as programs expect them, inside of one too."""
        return stack(tree, self.runs)

    def unstack(self, tree: PyTree) -> PyTree:
        """Returns a state, or variables, with arrays of its own for each layer."""
        return unstack(tree, self.runs)

    def place(self, tree: PyTree) -> PyTree:
        """Puts a state, or variables by their collections, where programs expect it."""
        return self._move(tree, self.stack)

    def place_unstacked(self, tree: PyTree) -> PyTree:
        """Puts it on the devices with arrays of its own for each layer."""
        return self._move(tree, self.unstack) if self.runs else tree

    def place_each(
        self, kind: str, leaves: Iterable[tuple[Path, np.ndarray]]
    ) -> PyTree:
        """Puts host arrays on the devices one after the other, each layer by itself.

        On one device they stay where they are: `place` stacks them first.

        Args:
            kind: What they are: ``params``, for example.
            leaves: Path and array of each of them.
        """
        if self.mesh.size == 1:
            return unflatten(dict(leaves))
        placed, axes = {}, flatten(self.names[kind])
        for path, array in leaves:
            place = named_sharding(axes[path], array.shape, self.mesh)
            placed[path] = put(array, place)
        return unflatten(placed)

    def _move(self, tree: PyTree, arrange: Callable[[PyTree], PyTree]) -> PyTree:
        shape = jax.eval_shape(arrange, tree) if self.runs else tree
        places = self.shardings(shape)
        if jax.tree.structure(shape) == jax.tree.structure(tree):
            return put(tree, places)
        if is_spread(tree):
            return jax.jit(arrange, out_shardings=places)(tree)
        return put(arrange(jax.device_get(tree)), places)
