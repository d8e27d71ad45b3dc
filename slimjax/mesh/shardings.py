"""How arrays lie on the mesh: by the names of their axes, all of them by one rule."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from slimjax.data.dataset import Field
from slimjax.nn.axes import spread
from slimjax.trees import flatten, named_path

Fields = Mapping[str, Field]
"""What the arrays of a batch are, by name."""


def shardings(tree: PyTree, names: PyTree, mesh: Mesh) -> PyTree:
    """Returns the sharding of every leaf of a tree, such as a state.

    A leaf that stands at the end of a path that has names (a weight, its moments, its
    average) lies as these say; all else is whole on every device.

    Args:
        tree: Arrays, or their shapes.
        names: Names of axes by nested names, ``{"params": ..., "gates": ..., ...}``.
        mesh: The devices.
    """
    axes = flatten(names)

    def place(keys: tuple, leaf: Any) -> NamedSharding:
        path = named_path(keys, axes)
        own = axes[path] if path is not None else ()
        fits = len(own) == len(leaf.shape)
        return named_sharding(own, leaf.shape, mesh) if fits else replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, tree)


def named_sharding(
    names: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh
) -> NamedSharding:
    """Returns the sharding of one array whose axes have names."""
    return NamedSharding(mesh, spread(names, shape, mesh.shape))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def abstract_batch(fields: Fields, batch_size: int, mesh: Mesh) -> PyTree:
    """Returns shapes, dtypes and shardings of the batches that a step takes.

    Args:
        fields: What the arrays of a batch are.
        batch_size: Rows, B.
        mesh: The devices.
    """

    def array(field: Field) -> jax.ShapeDtypeStruct:
        shape = (batch_size, *field.shape)
        place = named_sharding(("batch", *field.axes), shape, mesh)
        return jax.ShapeDtypeStruct(shape, np.dtype(field.dtype), sharding=place)

    return {name: array(field) for name, field in fields.items()}


def put_batch(batch: Mapping[str, np.ndarray], fields: Fields, mesh: Mesh) -> PyTree:
    """Places a batch on the devices, each process its own part of it.

    Args:
        batch: All rows, the same ones in every process.
        fields: What its arrays are.
        mesh: The devices, of all processes.
    """

    def put(name: str, rows: np.ndarray) -> jax.Array:
        place = named_sharding(("batch", *fields[name].axes), rows.shape, mesh)
        return jax.make_array_from_process_local_data(place, rows, rows.shape)

    return {name: put(name, rows) for name, rows in batch.items()}


def put(tree: PyTree, places: PyTree) -> PyTree:
    """Places a tree by a tree of shardings, whatever devices it lies on.

    Arrays of one host must be the same in every process.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, places)

    def put_leaf(leaf: Any, place: NamedSharding) -> jax.Array:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return jax.device_put(leaf, place)
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, place, lambda i: whole[i])

    return jax.tree.map(put_leaf, tree, places)
