"""Walks over trees of arrays: paths, axis names, counting, comparing, hashing.

A *path* is a tuple of names, such as ``("encoder", "norm", "scale")``. Parameters and
gates are nested dicts; `flatten` turns them into one dict from path to leaf and
`unflatten` back.
"""

import hashlib
import math
import zlib
from collections.abc import Callable, Container
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util
from jaxtyping import PyTree

Path = tuple[str, ...]
AxisNames = tuple[str, ...]


def flatten(tree: dict) -> dict[Path, Any]:
    """Returns the leaves of a nested dict, by path.

    Examples:
        >>> flatten({"mlp": {"up": 1}})
        {('mlp', 'up'): 1}
    """
    return traverse_util.flatten_dict(tree)


def unflatten(leaves: dict[Path, Any]) -> dict:
    """Returns the nested dict that `flatten` took apart."""
    return traverse_util.unflatten_dict(leaves)


def axis_names(boxed: PyTree) -> PyTree:
    """Returns, for each boxed leaf, the logical names of its axes.

    Args:
        boxed: What `jax.eval_shape` of a module's ``init`` gives, whose leaves carry
            their names (`flax.linen.with_logical_partitioning`).

    Raises:
        TypeError: If a leaf has no names; the message tells which.
    """
    is_box = lambda leaf: isinstance(leaf, nn.LogicallyPartitioned)

    def names(path, leaf) -> AxisNames:
        if not is_box(leaf):
            raise TypeError(f"{jax.tree_util.keystr(path)} does not name its axes")
        return tuple(str(name) for name in leaf.names)

    return jax.tree_util.tree_map_with_path(names, boxed, is_leaf=is_box)


def named_path(keys: tuple, known: Container[Path]) -> Path | None:
    """Returns the longest end of a key path of `jax.tree_util` that is a known path.

    An optimizer's state holds moments at the end of its own path, by the path of the
    weight that they belong to.

    Examples:
        >>> state = {"mu": {"params": {"up": 1.0}}}
        >>> ((keys, _),) = jax.tree_util.tree_leaves_with_path(state)
        >>> named_path(keys, {("params", "up")})
        ('params', 'up')
    """
    names = tuple(str(getattr(k, "key", getattr(k, "name", ""))) for k in keys)
    ends = (names[i:] for i in range(len(names)))
    return next((end for end in ends if end in known), None)


def count_elements(tree: PyTree) -> int:
    """Returns the number of elements in all arrays (or shapes) of a tree.

    Examples:
        >>> count_elements({"a": np.ones((2, 3)), "b": np.ones(())})
        7
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def path_name(keys: tuple) -> str:
    """Returns a key path of `jax.tree_util` as one dotted name.

    Examples:
        >>> leaves = jax.tree_util.tree_leaves_with_path({"mlp": [1.0]})
        >>> path_name(leaves[0][0])
        'mlp.0'
    """
    parts = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))) for k in keys)
    return ".".join(str(part) for part in parts)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns all leaves of any pytree by dotted name, in the order of the names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return dict(sorted((path_name(path), leaf) for path, leaf in leaves))


def leaf_table(tree: PyTree) -> dict[str, dict]:
    """Returns name -> shape, dtype and crc32 of the bytes, for every leaf.

    A `jax.ShapeDtypeStruct`, which stands for an array that is not here, has no crc32.
    """
    table = {}
    for name, leaf in named_leaves(tree).items():
        is_here = not isinstance(leaf, jax.ShapeDtypeStruct)
        table[name] = {
            "shape": list(np.shape(leaf)),
            "dtype": str(leaf.dtype),
            "crc32": zlib.crc32(_bytes(np.asarray(leaf))) if is_here else None,
        }
    return table


def hash_tree(tree: PyTree, read: Callable[[Any], Any] = np.asarray) -> str:
    """Returns the sha256 over names, dtypes, shapes and bytes of all leaves, as hex.

    Args:
        tree: The tree.
        read: Returns the array of a leaf; one is read after the other.

    Examples:
        >>> hash_tree({"a": np.zeros(2)}) == hash_tree({"a": np.zeros(3)})
        False
    """
    digest = hashlib.sha256()
    for name, leaf in named_leaves(tree).items():
        update_digest(digest, name, np.asarray(read(leaf)))
    return digest.hexdigest()


def update_digest(digest: Any, name: str, array: np.ndarray) -> None:
    """Adds the name, dtype, shape and bytes of an array to a digest of `hashlib`."""
    digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
    digest.update(_bytes(array))


def _bytes(array: np.ndarray) -> memoryview:
    """Returns the bytes of an array in row-major order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
