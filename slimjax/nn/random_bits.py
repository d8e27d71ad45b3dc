"""Random bits for dropout: a hash of a key and of the place of each number.

`jax.random` hashes by threefry, 20 rounds for two words: on a CPU that costs more than
the layer whose numbers are dropped. Masks need no such quality. The key is threefry's,
so all sites and steps are independent; the numbers of one site are spread by a short
hash of 32 bits, applied three times. Each number depends on its own place alone, so any
part of an array can be drawn on any device.

References:
    Wellons, "Prospecting for Hash Functions", 2018 (`mix`, there "lowbias32").
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32


def mix(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Returns numbers of 32 bits, each of which depends on all bits of the old one.

    Examples:
        >>> [hex(n) for n in mix(jnp.arange(3, dtype=jnp.uint32)).tolist()]
        ['0x0', '0x688990c0', '0xd1132181']
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 16)


def hash_places(
    high: UInt32[Array, "*#shape"],
    low: UInt32[Array, "*#shape"],
    rows: UInt32[Array, "*#shape"],
    columns: UInt32[Array, "*#shape"],
) -> UInt32[Array, "*shape"]:
    """Returns a hash of two words of a key and of the place of each number.

    What depends on the row alone is computed once for each row.
    """
    return mix(mix(mix(high + rows) + columns) + mix(low ^ rows))


def is_kept(key: Array, rate: float, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """Returns which numbers of an array are kept: each with probability 1 - rate.

    Args:
        key: Key of `jax.random`.
        rate: Share that is dropped, in [0, 1).
        shape: Shape of the array, at most 2^32 rows and columns.

    Examples:
        >>> kept = is_kept(jax.random.key(0), 0.25, (400, 500))
        >>> round(float(kept.mean()), 2)
        0.75
    """
    words = jax.random.key_data(key).astype(jnp.uint32)
    *outer, size = shape or (1,)
    rows = jnp.arange(math.prod(outer), dtype=jnp.uint32).reshape(*outer, 1)
    columns = jnp.arange(size, dtype=jnp.uint32)
    bits = hash_places(
        words[0], words[-1], rows, columns.reshape((1,) * len(outer) + (-1,))
    )
    return (bits >= jnp.uint32(rate * 2**32)).reshape(shape)
