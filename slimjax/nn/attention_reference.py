"""Attention as in the textbook: the formula every faster one is held against."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

NEG_INF = -1e30  # Finite, so that a row with nothing to attend to stays free of NaN.


def attend_reference(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    query_positions: Int[Array, "B T"] | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    key_segments: Int[Array, "B S"] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B T N H"]:
    """Returns ``softmax(query key^T / sqrt(H)) value``, all T x S weights in memory.

    The arguments are those of `slimjax.nn.attention_kernels.attend`.
    """
    num_queries, (num_keys, num_kv_heads, head_dim) = query.shape[1], key.shape[1:]
    query = query.reshape(*query.shape[:2], num_kv_heads, -1, head_dim)
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    query = jnp.einsum("BTKGH->BKGTH", query)  # Heads first: twice as fast on CPU.
    key, value = (jnp.einsum("BSKH->BKSH", x) for x in (key, value))
    mask = make_mask(
        *(num_queries, num_keys, causal, window),
        *(query_positions, query_segments, key_segments),
    )[:, None, None]

    in_float32 = {"preferred_element_type": jnp.float32}
    logits = jnp.einsum("BKGTH,BKSH->BKGTS", query, key, **in_float32)
    logits = jnp.where(mask, logits * head_dim**-0.5, NEG_INF)
    weights = jnp.where(mask, jax.nn.softmax(logits), 0.0).astype(dtype)
    mixed = jnp.einsum("BKGTS,BKSH->BKGTH", weights, value, **in_float32)
    mixed = jnp.einsum("BKGTH->BTKGH", mixed)
    return mixed.reshape(*mixed.shape[:2], -1, head_dim)


def make_mask(
    num_queries: int,
    num_keys: int,
    causal: bool,
    window: int | None,
    query_positions: Int[Array, "B T"] | None,
    query_segments: Int[Array, "B T"] | None,
    key_segments: Int[Array, "B S"] | None,
) -> Bool[Array, "#B T S"]:
    """Returns which queries see which keys: all conditions must hold."""
    mask = jnp.ones((1, num_queries, num_keys), bool)
    if query_positions is None:
        query_positions = jnp.arange(num_queries)[None]
    ahead = jnp.arange(num_keys)[None, None] - query_positions[..., None]  # B T S
    if causal:
        mask &= ahead <= 0
    if window is not None:
        mask &= ahead > -window
    if query_segments is not None and key_segments is not None:
        mask &= query_segments[..., None] == key_segments[:, None]
        mask &= query_segments[..., None] > 0
    return mask
