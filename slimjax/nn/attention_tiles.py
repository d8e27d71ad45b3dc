"""Which tiles of queries x keys attention must visit, and what each of them hides."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from slimjax.nn.attention_reference import NEG_INF


class Marks(NamedTuple):
    """What masks are made of beside indices: [B T], [B T] and [B S], or nothing."""

    query_positions: Array | None
    query_segments: Array | None
    key_segments: Array | None


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The static side of a call: the kind of mask, the tiles, the products' type.

    Attributes:
        causal: Whether keys ahead of the query are hidden.
        window: How many keys back a query sees, or None.
        num_queries: Queries, padding included.
        num_keys: Keys, without padding.
        rows: Queries of a tile.
        columns: Keys of a tile, at least; the last tile of a row has up to twice that.
        dtype: Type of the products' operands.
    """

    causal: bool
    window: int | None
    num_queries: int
    num_keys: int
    rows: int
    columns: int
    dtype: jnp.dtype

    def split_keys(self, start: int, marks: Marks) -> tuple[int, int, int]:
        """Returns (first key, number of tiles of full width, end) for a query block.

        The rest between those tiles and the end is one last tile.
        """
        first, end = 0, round_up(self.num_keys, 16)
        if self.causal and marks.query_positions is None:
            end = min(start + self.rows, end)
            if self.window is not None:
                first = max(start - self.window + 1, 0) // 16 * 16
        first = min(first, max(end - 16, 0))
        return first, max((end - first - 1) // self.columns, 0), end

    def hide(self, marks: Marks, start: int, first, width: int, *, last: bool):
        """Returns 0 where a query sees a key and `NEG_INF` elsewhere, or None.

        Args:
            marks: Positions and segments.
            start: First query of the tile.
            first: First key of the tile, possibly traced.
            width: Number of keys.
            last: Whether this is the last tile of its row, which holds the diagonal.

        Returns:
            Float[Array, "#B T S"], or None if all is seen.
        """
        queries = (start + jnp.arange(self.rows))[None, :, None]
        keys = (first + jnp.arange(width))[None, None]
        block = slice(start, start + self.rows)
        see = []
        if marks.query_positions is not None:
            queries = marks.query_positions[:, block, None]
        if self.causal and (last or marks.query_positions is not None):
            see.append(keys <= queries)
        if self.window is not None:
            see.append(keys > queries - self.window)
        if marks.query_segments is not None and marks.key_segments is not None:
            of_queries = marks.query_segments[:, block, None]
            of_keys = lax.dynamic_slice_in_dim(marks.key_segments, first, width, 1)
            see += [of_queries == of_keys[:, None], of_queries > 0]
        if last and self.num_keys % 16:
            see.append(keys < self.num_keys)
        if not see:
            return None
        mask = jnp.ones((1, self.rows, width), bool)
        for more in see:
            mask &= more
        # Made once and then added to all heads: cheaper than a select inside the exp.
        return lax.optimization_barrier(jnp.where(mask, 0.0, NEG_INF))


def round_up(size: int, multiple: int) -> int:
    """Returns the smallest multiple that is no less than `size`."""
    return -(-size // multiple) * multiple
