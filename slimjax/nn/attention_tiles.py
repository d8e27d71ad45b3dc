"""Which tiles of queries x keys attention must visit, and what each of them hides."""

import dataclasses

import jax.numpy as jnp
from jax import lax

from slimjax.nn.attention_mask import Mask
from slimjax.nn.attention_reference import NEG_INF


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The static side of a call: the tiles, the scale, the type of the products.

    Attributes:
        num_queries: Queries, padding included.
        num_keys: Keys, without padding.
        rows: Queries of a tile.
        columns: Keys of a tile, at least; the last tile of a row has up to
            `rows` more.
        scale: Factor of the scores.
        dtype: Type of the products' operands.
    """

    num_queries: int
    num_keys: int
    rows: int
    columns: int
    scale: float
    dtype: jnp.dtype

    def split_keys(self, start: int, mask: Mask) -> tuple[int, int, int]:
        """Returns (first key, number of tiles of full width, end) for a query block.

        The rest between those tiles and the end is one last tile.
        """
        first, end = 0, round_up(self.num_keys, 16)
        seen_by_all = end
        if mask.query_positions is None:
            if mask.causal:
                end, seen_by_all = min(start + self.rows, end), start + 1
            elif mask.window is not None:
                last = start + self.rows + mask.window - 1
                end = min(round_up(last, 16), end)
            if mask.window is not None:
                first = max(start - mask.window + 1, 0) // 16 * 16
        first = min(first, max(end - 16, 0))
        before_last = min(end - 1, seen_by_all)
        return first, max((before_last - first) // self.columns, 0), end

    def hide(self, mask: Mask, start: int, first, width: int, *, last: bool):
        """Returns 0 where a query sees a key and `NEG_INF` elsewhere, or None.

        Args:
            mask: Which queries see which keys.
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
        if mask.query_positions is not None:
            queries = mask.query_positions[:, block, None]
        if mask.causal and (last or mask.query_positions is not None):
            see.append(keys <= queries)
        if mask.window is not None:
            see.append(keys > queries - mask.window)
            if not mask.causal:
                see.append(keys < queries + mask.window)
        if mask.query_segments is not None:
            of_queries = mask.query_segments[:, block, None]
            of_keys = lax.dynamic_slice_in_dim(mask.key_segments, first, width, 1)
            see += [of_queries == of_keys[:, None], of_queries > 0]
        if last and self.num_keys % 16:
            see.append(keys < self.num_keys)
        if not see:
            return None
        both = jnp.ones((1, self.rows, width), bool)
        for more in see:
            both &= more
        # Made once and then added to all heads: cheaper than a select inside the exp.
        return lax.optimization_barrier(jnp.where(both, 0.0, NEG_INF))


def round_up(size: int, multiple: int) -> int:
    """Returns the smallest multiple that is no less than `size`."""
    return -(-size // multiple) * multiple
