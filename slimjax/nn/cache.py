"""What attention remembers while it generates: keys and values of the past.

A cache is an argument of the layers of `slimjax.nn.frozen_layers`. Other layers find
theirs in the collection ``cache``, under their own path, where it is mutable.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, DTypeLike, Int, PyTree

CACHE = "cache"
"""Name of the collection."""


@struct.dataclass
class LayerCache:
    """Keys and values of one layer, ``[B S K H]`` each, S being the longest length."""

    key: PyTree
    value: PyTree


def empty_cache(
    batch_size: int, length: int, num_kv_heads: int, head_dim: int, dtype: DTypeLike
) -> LayerCache:
    """Returns a cache without content, of a fixed shape."""
    zeros = jnp.zeros((batch_size, length, num_kv_heads, head_dim), dtype)
    return LayerCache(key=zeros, value=zeros)


def write(
    cache: LayerCache, key: Array, value: Array, positions: Int[Array, "B T"]
) -> LayerCache:
    """Stores keys and values ``[B T K H]`` at each row's own consecutive positions."""

    def put(old: Array, new: Array, start: Array) -> Array:
        return jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (start, 0, 0))

    put_rows = jax.vmap(put)
    start = positions[:, 0]
    return LayerCache(
        key=put_rows(cache.key, key, start), value=put_rows(cache.value, value, start)
    )


def has_cache(module: nn.Module, name: str = "key") -> bool:
    """Whether a module reads and writes a cache in this call."""
    is_open = module.is_mutable_collection(CACHE) and not module.is_initializing()
    return is_open and module.has_variable(CACHE, name)


def replace(module: nn.Module, **values: Array) -> None:
    """Stores new values in the cache of a module."""
    for name, value in values.items():
        module.put_variable(CACHE, name, value)


def recall(module: nn.Module, *names: str) -> list[Array]:
    """Returns what the cache of a module holds under some names."""
    return [module.get_variable(CACHE, name) for name in names]
