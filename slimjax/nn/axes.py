"""How arrays name their axes, and over which axes of the device mesh these are spread.

A parameter names its axes once, where it is made; a batch and the activations have
names for theirs. `RULES` says, as data, where each name goes on a mesh:

    data     rows of a batch
    fsdp     rows of a batch, and the width of weights, which are gathered for use
    model    heads, hidden units and the vocabulary, of weights and of activations
    context  positions within a row
"""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

RULES: Mapping[str, tuple[str, ...]] = {
    "embed": ("fsdp",),  # And every other width; see `is_width`.
    "heads": ("model",),
    "kv_heads": ("model",),
    "mlp": ("model",),
    "vocab": ("model",),
    "filters": ("model",),  # Of every stage; see `kind_of`.
    "batch": ("data", "fsdp"),
    "positions": ("context",),
}
"""Axes of the mesh over which an axis of an array is spread, by its name.

What is not named here, such as ``head_dim``, lies whole on every device.
"""

ONE_ROW = ("bias", "scale")
"""Names of a first axis of length 1, of vectors that write to a residual stream.

Stored as ``[1, D]``, they are folded and cut like every matrix that writes there.
"""


def is_width(name: str | None) -> bool:
    """Whether an axis is the width of a residual stream: ``embed``, ``image_embed``.

    Examples:
        >>> is_width("encoder_embed"), is_width("mlp")
        (True, False)
    """
    return name is not None and name.endswith("embed")


def is_filters(name: str | None) -> bool:
    """Whether an axis is the filters of a stage of a convolution: ``filters_0``.

    Examples:
        >>> is_filters("filters_1"), is_filters("image_embed")
        (True, False)
    """
    return name is not None and name.startswith("filters_")


def is_shared(name: str | None) -> bool:
    """Whether the units of an axis are part of weights that other units are part of.

    Those are the channels of a residual stream, and the filters of a stage, which
    those of the next stage read.
    """
    return is_width(name) or is_filters(name)


def kind_of(name: str) -> str:
    """Returns the kind of an axis: all widths are of one kind, and all filters.

    Examples:
        >>> kind_of("image_embed"), kind_of("filters_2"), kind_of("mlp")
        ('embed', 'filters', 'mlp')
    """
    if is_width(name):
        return "embed"
    return "filters" if is_filters(name) else name


def mesh_axes(name: str | None) -> tuple[str, ...]:
    """Returns the axes of the mesh over which an axis of this name is spread.

    Examples:
        >>> mesh_axes("image_embed"), mesh_axes("head_dim")
        (('fsdp',), ())
    """
    return RULES.get(kind_of(name or ""), ())


def named(init: Initializer, *axes: str) -> Any:
    """Returns an initializer whose parameter carries the names of its axes.

    Examples:
        >>> import jax
        >>> init = named(nn.initializers.ones, "mlp", "embed")
        >>> init(jax.random.key(0), (3, 2)).names
        ('mlp', 'embed')
    """
    return nn.with_logical_partitioning(init, axes)


def num_parts(name: str | None, sizes: Mapping[str, int]) -> int:
    """Returns into how many parts an axis of this name is cut on a mesh.

    Examples:
        >>> num_parts("batch", {"data": 4, "fsdp": 2}), num_parts("head_dim", {})
        (8, 1)
    """
    return math.prod(sizes.get(axis, 1) for axis in mesh_axes(name))


def spread(
    names: Sequence[str | None], shape: Sequence[int], sizes: Mapping[str, int]
) -> PartitionSpec:
    """Returns over which axes of a mesh each axis of an array is spread.

    An axis that cannot be cut evenly lies whole on every device. So does one whose axis
    of the mesh a later axis of the array takes: filters that are read, for example.

    Args:
        names: Names of the axes; None for one that stays whole.
        shape: Their lengths.
        sizes: Sizes of the axes of the mesh, by name.

    Examples:
        >>> spread(("embed", "mlp"), (6, 9), {"data": 8, "fsdp": 2, "model": 2})
        P('fsdp', None)
        >>> spread(("filters_0", "filters_1"), (6, 4), {"model": 2})
        P(None, 'model')
    """
    taken: set[str] = set()

    def place(name: str | None, length: int) -> Any:
        axes = [a for a in mesh_axes(name) if sizes.get(a, 1) > 1]
        if not axes or length % num_parts(name, sizes) or not taken.isdisjoint(axes):
            return None
        taken.update(axes)
        return tuple(axes) if len(axes) > 1 else axes[0]

    pairs = list(zip(names, shape, strict=True))
    return PartitionSpec(*reversed([place(*pair) for pair in reversed(pairs)]))


def mesh_to_share() -> AbstractMesh | None:
    """Returns the mesh whose devices are to share the work; None for one device.

    It is that of ``jax.set_mesh``. Inside `jax.shard_map` the work is shared already.
    """
    mesh = jax.sharding.get_abstract_mesh()
    shares = not mesh.empty and mesh.size > 1 and mesh.are_all_axes_auto
    return mesh if shares else None


def constrain(x: Float[Array, "*shape"], *names: str | None) -> Float[Array, "*shape"]:
    """Tells the compiler how an activation lies on the mesh in context.

    Without it, an activation would follow the weights, whose width is spread over the
    axis that its rows are to be spread over.
    """
    mesh = mesh_to_share()
    if mesh is None:
        return x
    return jax.lax.with_sharding_constraint(x, spread(names, x.shape, mesh.shape))


def map_rows(fn: Callable[..., Any], rows: PyTree, whole: PyTree) -> Any:
    """Returns ``fn(rows, whole)``, each device computing with its own rows alone.

    For functions that take tokens in blocks: a compiler that spreads the tokens over
    devices would have all of these work on one device's block at a time.

    Args:
        fn: What is true of any rows and positions alone: takes and returns arrays
            whose first two axes are those of tokens, B T.
        rows: Arrays ``[B T ...]``.
        whole: Arrays that all devices use, though they may be spread over ``model``.
    """
    mesh, shape = mesh_to_share(), jax.tree.leaves(rows)[0].shape[:2]
    spec = spread(("batch", "positions"), shape, mesh.shape if mesh else {})
    along = {name for axes in spec for name in np.atleast_1d(axes or ())}
    if not along:
        return fn(rows, whole)
    # Whole arrays get the sum of all devices' gradients, which needs no types to see.
    mapped = jax.shard_map(
        fn,
        in_specs=(spec, PartitionSpec()),
        out_specs=spec,
        axis_names=along,
        check_vma=False,
    )
    return mapped(rows, whole)


def to_host(tree: PyTree) -> PyTree:
    """Returns whole NumPy arrays, the same in every process.

    For what is small: gates, statistics of units, or one weight at a time.
    """

    def gather(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return leaf
        if not leaf.is_fully_replicated:
            assert isinstance(leaf.sharding, NamedSharding)
            leaf = _gather_on(leaf.sharding.mesh)(leaf)
        return leaf.addressable_data(0)

    return jax.device_get(jax.tree.map(gather, tree))


@functools.lru_cache(maxsize=8)
def _gather_on(mesh: Mesh | AbstractMesh) -> Callable[[jax.Array], jax.Array]:
    """Returns a function that keeps what it compiles, once for each kind of array."""
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def is_spread(tree: PyTree) -> bool:
    """Whether arrays of a tree lie on several devices, and are to be worked on there.

    On one device NumPy is the faster way where every array has a shape of its own.
    """
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return any(len(array.sharding.device_set) > 1 for array in arrays)


def on_mesh_of(tree: PyTree) -> AbstractContextManager[Any]:
    """Has what is compiled inside of it share the work of the devices of a tree.

    Without arrays that lie on several devices it changes nothing.
    """
    for leaf in jax.tree.leaves(tree):
        place = leaf.sharding if isinstance(leaf, jax.Array) else None
        if isinstance(place, NamedSharding) and place.mesh.size > 1:
            assert isinstance(place.mesh, Mesh)
            return jax.set_mesh(place.mesh)
    return contextlib.nullcontext()


def numpy_of(x: Any) -> Any:
    """Returns the module whose functions take `x`: ``numpy`` or ``jax.numpy``."""
    return jnp if isinstance(x, jax.Array) else np
