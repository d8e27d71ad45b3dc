"""Attention as in the textbook: the formula every faster one is held against."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn.attention_dropout import Drop
from slimjax.nn.attention_mask import Mask
from slimjax.nn.products import sums

NEG_INF = -1e30  # Finite, so that a row with nothing to attend to stays free of NaN.


def attend_reference(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
    drop: Drop | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B T N H"]:
    """Returns ``softmax(scale * query key^T + bias) value``, all weights in memory.

    The arguments are those of `slimjax.nn.attention_kernels.attend`.

    Args:
        query: See there.
        key: See there.
        value: See there.
        mask: Which queries see which keys; causal by default.
        scale: See there.
        bias: See there.
        drop: Which weights are dropped.
        dtype: See there.
    """
    mask = mask or Mask()
    num_queries, (num_keys, num_kv_heads, head_dim) = query.shape[1], key.shape[1:]
    query = query.reshape(*query.shape[:2], num_kv_heads, -1, head_dim)
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    query = jnp.einsum("BTKGH->BKGTH", query)  # Heads first: twice as fast on CPU.
    key, value = (jnp.einsum("BSKH->BKSH", x) for x in (key, value))
    see = mask.whole(num_queries, num_keys)[:, None, None]

    logits = jnp.einsum("BKGTH,BKSH->BKGTS", query, key, **sums(dtype))
    logits = logits * (head_dim**-0.5 if scale is None else scale)
    split = lambda x: x.reshape(len(x), num_kv_heads, -1, *x.shape[2:])
    if bias is not None:
        logits += split(bias)
    logits = jnp.where(see, logits, NEG_INF)
    weights = jnp.where(see, jax.nn.softmax(logits), 0.0)
    if drop is not None:
        weights *= split(drop.factors(0, num_queries, 0, num_keys))
    weights = weights.astype(dtype)
    mixed = jnp.einsum("BKGTS,BKSH->BKGTH", weights, value, **sums(dtype))
    mixed = jnp.einsum("BKGTH->BTKGH", mixed)
    return mixed.reshape(*mixed.shape[:2], -1, head_dim)
