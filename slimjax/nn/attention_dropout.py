"""Dropout of attention weights, the same for every kernel, tile and mesh.

Whether a weight is dropped is a hash of a key, its row, head, query and key. So a tile
of the weights can be drawn alone, again for the gradient, and on any device. Each row
and head has words of its own by threefry, and `hash_places` spreads them.

References:
    Srivastava et al., "Dropout", 2014, section 4.
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011 (threefry).
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax.extend.random import threefry2x32_p
from jaxtyping import Array, Float, PyTree

from slimjax.nn.random_bits import hash_places


@struct.dataclass
class Drop:
    """Which weights are dropped.

    Attributes:
        words: Two words of a key for each row and head, uint32 ``[B N]`` each.
        places: Numbers of the queries, uint32 ``[T]``.
        rate: Share of the weights that is dropped.
    """

    words: PyTree
    places: PyTree
    rate: float = struct.field(pytree_node=False)

    def factors(
        self, start: int, rows: int, first: int | Array, width: int
    ) -> Float[Array, "B N rows width"]:
        """Returns 0 for dropped weights of a tile, and for others ``1 / (1 - rate)``.

        Args:
            start: First query of the tile.
            rows: Number of queries.
            first: First key, possibly traced.
            width: Number of keys.
        """
        keys = (jnp.asarray(first, jnp.uint32) + jnp.arange(width, dtype=jnp.uint32))[
            None, None, None
        ]
        queries = self.places[start : start + rows][None, None, :, None]
        high, low = (word[..., None, None] for word in self.words)
        bits = hash_places(high, low, queries, keys)
        kept = bits >= jnp.uint32(self.rate * 2**32)
        return jnp.where(kept, 1.0 / (1.0 - self.rate), 0.0)


def make_drop(
    key: Array, rate: float, query: Float[Array, "B T N H"] | Float[Array, "B T N h"]
) -> Drop:
    """Returns which weights of queries are dropped.

    Args:
        key: Key of `jax.random`.
        rate: Share of the weights that is dropped, in [0, 1).
        query: The queries, for their shape.

    Raises:
        ValueError: If the rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout={rate} must be at least 0 and less than 1.")
    batch_size, length, num_heads, _ = query.shape
    data = jax.random.key_data(key).astype(jnp.uint32)
    shape = batch_size, num_heads
    index = lambda axis: jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    spread = lambda word: jnp.broadcast_to(word, shape)
    words = threefry2x32_p.bind(spread(data[0]), spread(data[1]), index(0), index(1))
    return Drop(tuple(words), jnp.arange(length, dtype=jnp.uint32), float(rate))
