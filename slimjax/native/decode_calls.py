"""The kernels that generate, one token at a time, with weights laid out for it."""

import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from slimjax.native.foreign import like, make_call, numbers


def rows_product(
    x: Float[Array, "M I"],
    panels: Shaped[Array, "P G 32 g"],
    scale: Float[Array, " _"],
    num_columns: int,
) -> Float[Array, "M O"]:
    """Returns the product with a matrix in the panels of `slimjax.nn.frozen`."""
    call = make_call("slimjax_rows_product", numbers(len(x), num_columns))
    return call(x, panels, scale)


def mlp_step(
    x: Float[Array, "M D"],
    norm: Float[Array, " D"],
    *weights: Shaped[Array, "..."],
    epsilon: float,
) -> Float[Array, "M D"]:
    """Returns x and what a gated MLP adds to it.

    Args:
        x: The residual stream.
        norm: Scale of the RMS normalisation before it.
        *weights: Panels and scale of gate and up, in turn 16 columns of each; panels
            and scale of down.
        epsilon: What the normalisation adds to the mean square.
    """
    call = make_call("slimjax_mlp_step", like(x))
    return call(x, norm, *weights, epsilon=np.float32(epsilon))


def attention_step(
    x: Float[Array, "B D"],
    norm: Float[Array, " D"],
    *operands: Shaped[Array, "..."],
    num_heads: int,
    epsilon: float,
) -> tuple[Float[Array, "B D"], Array, Array]:
    """Returns x and what attention adds to it for one token a row, and the next cache.

    Args:
        x: The residual stream.
        norm: Scale of the RMS normalisation before it.
        *operands: Panels and scale of query, key and value; of the output; cosines and
            sines of each row's angles [B h]; positions [B]; keys and values that stand
            before them [B S K H], float32 or bfloat16. They are written in place.
        num_heads: Query heads, N.
        epsilon: What the normalisation adds to the mean square.
    """
    caches = tuple(jax.ShapeDtypeStruct(c.shape, c.dtype) for c in operands[-2:])
    places = {len(operands): 1, len(operands) + 1: 2}
    call = make_call("slimjax_attention_step", (like(x), *caches), places)
    options = dict(num_heads=num_heads, epsilon=np.float32(epsilon))
    out, key, value = call(x, norm, *operands, **options)
    return out, key, value
