"""Relative positions as a bias of the scores, by buckets of distances.

Near keys have a bucket each, far ones share buckets whose width grows with distance.

Where to keep the table: each attention with one of its own is what cuts best, since
the table loses the columns of the heads that are cut. A table that all layers share, as
published T5 models have it, is the same function as its copies in all layers, for some
hundred numbers a layer; copy it on import. A tower may also own one `RelativeBias` and
pass its result to all layers as ``bias``. Then no layer may have head gates of its own:
the heads of all layers must be cut alike, by gates that stand beside the table.

References:
    Raffel et al., "Exploring the Limits of Transfer Learning", 2020, section 2.1.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from slimjax.nn.axes import named


class RelativeBias(nn.Module):
    """A bias for each bucket of distances and each head: ``table [buckets N]``.

    Attributes:
        num_heads: Query heads, N.
        num_buckets: Number of buckets, of both directions together.
        max_distance: Distance from which all keys share the last bucket.
        causal: Whether keys are never ahead, so that all buckets are for the past.
    """

    num_heads: int
    num_buckets: int = 32
    max_distance: int = 128
    causal: bool = False

    @nn.compact
    def __call__(
        self,
        num_queries: int,
        num_keys: int,
        query_positions: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "#B N T S"]:
        """Returns what is added to the scores of each query and key.

        Args:
            num_queries: Queries, T.
            num_keys: Keys, S; key j is at position j.
            query_positions: Positions of the queries; 0, 1, 2 ... by default.
        """
        init = named(nn.initializers.normal(0.02), "buckets", "heads")
        shape = self.num_buckets, self.num_heads
        table = self.param("table", init, shape, jnp.float32)
        numbers = (self.num_buckets, self.max_distance, self.causal)
        if query_positions is None and not isinstance(num_queries, int):
            query_positions = jnp.arange(num_queries)[
                None
            ]  # A number that is a symbol.
        if query_positions is None:
            return _by_offset(table, num_queries, num_keys, *numbers)
        ahead = jnp.arange(num_keys)[None, None] - query_positions[..., None]
        return jnp.moveaxis(table[bucket_of(ahead, *numbers)], -1, 1)


def bucket_of(
    ahead: Int[Array, "*shape"], num_buckets: int, max_distance: int, causal: bool
) -> Int[Array, "*shape"]:
    """Returns the bucket of each distance from a query to a key.

    Args:
        ahead: Position of the key minus that of the query.
        num_buckets: Number of buckets.
        max_distance: Distance from which all keys share the last bucket.
        causal: If not, the upper half of the buckets is for keys ahead.

    Examples:
        >>> ahead = jnp.array([-200, -9, -1, 0, 1, 9])
        >>> [int(n) for n in bucket_of(ahead, 32, 128, causal=False)]
        [15, 8, 1, 0, 17, 24]
        >>> [int(n) for n in bucket_of(ahead, 32, 128, causal=True)]
        [31, 9, 1, 0, 0, 0]
    """
    each = num_buckets if causal else num_buckets // 2
    numbers = jnp.asarray(_buckets_of_distances(each, max_distance))
    behind = jnp.maximum(-ahead, 0) if causal else jnp.abs(ahead)
    own = numbers[jnp.minimum(behind, max_distance)]
    return own if causal else own + jnp.where(ahead > 0, each, 0)


def _buckets_of_distances(num_buckets: int, max_distance: int) -> np.ndarray:
    """Returns the bucket of each distance up to the longest, int32."""
    exact = num_buckets // 2
    far = np.maximum(np.arange(max_distance + 1), exact).astype(np.float32) / exact
    growth = np.log(far) / np.float32(math.log(max_distance / exact))
    wide = exact + (growth * (num_buckets - exact)).astype(np.int32)
    distances = np.arange(max_distance + 1)
    numbers = np.where(distances < exact, distances, np.minimum(wide, num_buckets - 1))
    return numbers.astype(np.int32)


def _by_offset(
    table: Float[Array, "_ N"], num_queries: int, num_keys: int, *numbers
) -> Float[Array, "1 N T S"]:
    """Returns the bias of queries and keys that stand at 0, 1, 2 ...

    It depends on the offset only. So the table is looked up once for each offset, and
    its rows are laid out by shifting, whose gradient is a sum and no scatter.
    """
    period = num_queries + num_keys
    offsets = np.arange(period)
    offsets = np.where(offsets < num_keys, offsets, offsets - period)
    of_offset = table[bucket_of(jnp.asarray(offsets), *numbers)].T  # N period
    shape = (table.shape[1], num_queries, period)
    rows = jnp.broadcast_to(of_offset[:, None], shape)
    rows = rows.reshape(shape[0], -1)[:, : num_queries * (period - 1)]
    return rows.reshape(1, *shape[:2], period - 1)[..., :num_keys]
