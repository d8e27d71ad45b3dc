"""Which queries see which keys."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, PyTree


@struct.dataclass
class Mask:
    """The conditions under which a query sees a key; all of them must hold.

    Attributes:
        query_positions: Positions p of the queries, int32 ``[B T]``, where the keys are
            a cache; None if query i is at position i. Key j is at position j.
        query_segments: Segments of the queries, int32 ``[B T]``. A query sees keys of
            its own segment only; segment 0 is padding, which sees and shows nothing.
        key_segments: Segments of the keys, int32 ``[B S]``; given with the former.
        causal: Whether a query sees only keys j <= p.
        window: If given, a query sees only keys j > p - window, and without `causal`
            only keys j < p + window.
    """

    query_positions: PyTree = None
    query_segments: PyTree = None
    key_segments: PyTree = None
    causal: bool = struct.field(pytree_node=False, default=True)
    window: int | None = struct.field(pytree_node=False, default=None)

    @property
    def needs_positions(self) -> bool:
        """Whether it matters where queries and keys are."""
        return self.causal or self.window is not None

    def check(self) -> None:
        """Raises `ValueError` if the conditions contradict each other."""
        if self.query_positions is not None and not self.needs_positions:
            raise ValueError("query_positions need causal=True or a window.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window={self.window} must be 1 or more.")
        if (self.query_segments is None) != (self.key_segments is None):
            raise ValueError("query_segments and key_segments must come together.")

    def whole(self, num_queries: int, num_keys: int) -> Bool[Array, "#B T S"]:
        """Returns for each query which keys it sees."""
        mask = jnp.ones((1, num_queries, num_keys), bool)
        positions = self.query_positions
        if positions is None:
            positions = jnp.arange(num_queries)[None]
        ahead = jnp.arange(num_keys)[None, None] - positions[..., None]  # B T S
        if self.causal:
            mask &= ahead <= 0
        if self.window is not None:
            mask &= ahead > -self.window
            if not self.causal:
                mask &= ahead < self.window
        if self.query_segments is not None:
            mask &= self.query_segments[..., None] == self.key_segments[:, None]
            mask &= self.query_segments[..., None] > 0
        return mask
