"""How a state lies: stacked by runs of layers, and spread over the mesh."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

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

Arrange = Callable[..., PyTree]
"""`stack` or `unstack`, of a tree and runs."""


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
        return self._move(tree, stack)

    def place_unstacked(self, tree: PyTree) -> PyTree:
        """Puts it on the devices with arrays of its own for each layer."""
        return self._move(tree, unstack) if self.runs else tree

    def unstacked_to_save(self, tree: PyTree) -> PyTree:
        """Returns a state with arrays of its own for each layer, for a checkpoint.

        Of one device they are copies on the host. Several devices hold the state twice
        until it is saved.
        """
        if not self.runs or is_spread(tree):
            return self.place_unstacked(tree)
        return self.unstack(jax.tree.map(np.array, tree))

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

    def _move(self, tree: PyTree, arrange: Arrange) -> PyTree:
        own = functools.partial(arrange, runs=self.runs)
        shape = jax.eval_shape(own, tree) if self.runs else tree
        places = self.shardings(shape)
        if jax.tree.structure(shape) == jax.tree.structure(tree):
            return put(tree, places)
        if is_spread(tree):
            leaves, structure = jax.tree.flatten(places)
            return _program(arrange, self.runs, structure, tuple(leaves))(tree)
        return put(own(jax.device_get(tree)), places)


@functools.lru_cache(maxsize=8)
def _program(
    arrange: Arrange, runs: tuple[Run, ...], structure: Any, places: tuple
) -> Callable[[PyTree], PyTree]:
    """Returns a function that keeps what it compiles, from one save to the next."""
    fn = functools.partial(arrange, runs=runs)
    return jax.jit(fn, out_shardings=jax.tree.unflatten(structure, places))
