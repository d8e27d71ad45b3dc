"""The kernels of a training step as functions of arrays, one for each foreign call.

All arrays but positions, segments and targets are float32. With ``dtype=bfloat16``
operands of products are rounded on their way in, and always those of ``products_*``;
sums are float32 in any case.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int, Num

from slimjax.native.foreign import like, make_call, numbers, rounds

PANEL = 32
"""Columns that the kernels multiply together."""


def products_forward(
    x: Float[Array, "M I"], kernels: Sequence[Float[Array, "I _"]]
) -> tuple[Float[Array, "M _"], ...]:
    """Returns ``x @ kernel`` for each kernel, operands rounded to bfloat16."""
    shapes = tuple(numbers(len(x), kernel.shape[1]) for kernel in kernels)
    call = make_call("slimjax_products_forward", shapes)
    return tuple(call(x, *kernels))


def products_backward(
    x: Float[Array, "M I"],
    kernels: Sequence[Float[Array, "I _"]],
    slopes: Sequence[Float[Array, "M _"]],
) -> tuple[Array, ...]:
    """Returns the gradient of x, then that of each kernel, operands rounded too."""
    call = make_call("slimjax_products_backward", (like(x), *map(like, kernels)))
    return tuple(call(x, *kernels, *slopes))


def mlp_forward(
    x: Float[Array, "M D"],
    gate: Float[Array, "D F"],
    up: Float[Array, "D F"],
    down: Float[Array, "F D"],
    dtype: DTypeLike,
    *,
    keep: bool = False,
) -> tuple[Array, ...]:
    """Returns ``(silu(x gate) * (x up)) down``.

    With `keep`, also ``x gate`` and ``x up`` for `mlp_backward`, in `dtype`, their
    hidden units padded to whole panels; bfloat16 by its bits, which XLA cannot widen.
    """
    padded = -(-gate.shape[1] // PANEL) * PANEL
    kept_type = jnp.uint16 if rounds(dtype) else jnp.float32
    kept = jax.ShapeDtypeStruct((len(x), padded), kept_type)
    call = make_call("slimjax_mlp_forward", (like(x), *[kept, kept] * keep))
    return tuple(call(x, gate, up, down, round=rounds(dtype)))


def mlp_backward(
    x: Float[Array, "M D"],
    gate: Float[Array, "D F"],
    up: Float[Array, "D F"],
    down: Float[Array, "F D"],
    kept: Sequence[Num[Array, "M _"]],
    slope: Float[Array, "M D"],
    dtype: DTypeLike,
) -> tuple[Array, Array, Array, Array]:
    """Returns the gradients of x, gate, up and down; see `mlp_forward`."""
    call = make_call("slimjax_mlp_backward", tuple(map(like, (x, gate, up, down))))
    arrays = x, gate, up, down, *kept, slope
    dx, dgate, dup, ddown = call(*arrays, round=rounds(dtype))
    return dx, dgate, dup, ddown


def norm_forward(
    x: Float[Array, "M D"],
    scale: Float[Array, " D"],
    count: Float[Array, ""],
    epsilon: float,
) -> tuple[Float[Array, "M D"], Float[Array, " M"]]:
    """Returns ``x * inverse * scale``, inverse ``(sum(x^2) / count + epsilon)^-1/2``.

    The second result is the inverse of each row.
    """
    call = make_call("slimjax_norm_forward", (like(x), numbers(len(x))))
    out, inverse = call(x, scale, count, epsilon=np.float32(epsilon))
    return out, inverse


def norm_backward(
    x: Float[Array, "M D"],
    scale: Float[Array, " D"],
    count: Float[Array, ""],
    inverse: Float[Array, " M"],
    slope: Float[Array, "M D"],
) -> tuple[Float[Array, "M D"], Float[Array, " D"]]:
    """Returns the gradients of x and scale."""
    call = make_call("slimjax_norm_backward", (like(x), like(scale)))
    dx, dscale = call(x, scale, count, inverse, slope)
    return dx, dscale


def cross_entropy_forward(
    x: Float[Array, "M D"],
    table: Float[Array, "V D"],
    targets: Int[Array, " M"],
    dtype: DTypeLike,
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """Returns the target's score and the log-sum-exp of each row of ``x table^T``."""
    call = make_call("slimjax_cross_entropy_forward", (numbers(len(x)),) * 2)
    scores, lse = call(x, table, targets, round=rounds(dtype))
    return scores, lse


def cross_entropy_backward(
    x: Float[Array, "M D"],
    table: Float[Array, "V D"],
    targets: Int[Array, " M"],
    lse: Float[Array, " M"],
    dscore: Float[Array, " M"],
    dlse: Float[Array, " M"],
    dtype: DTypeLike,
) -> tuple[Float[Array, "M D"], Float[Array, "V D"]]:
    """Returns the gradients of x and table, by those of the scores and of `lse`."""
    call = make_call("slimjax_cross_entropy_backward", (like(x), like(table)))
    arrays = x, table, targets, lse, dscore, dlse
    dx, dtable = call(*arrays, round=rounds(dtype))
    return dx, dtable


def attention_forward(
    operands: tuple[Array, ...],
    *,
    segmented: bool,
    rotary: bool,
    scale: float,
    dtype: DTypeLike,
) -> tuple[Float[Array, "B T N H"], Float[Array, "B N T"]]:
    """Returns mixed values, and the log-sum-exp of each query's scores.

    Args:
        operands: query [B T N H]; key and value [B S K H]; the first key that each
            query sees and the first that it sees no more, int32 [B T] both; segments
            of queries [B T] and of keys [B S], int32, read only if `segmented`; cosines
            and sines [B T h] of the angles by which the pairs (i, i + h) of queries and
            keys are turned first, h = H / 2, read only if `rotary`.
        segmented: Whether a query sees only keys of its own segment, if that is not 0.
        rotary: Whether there is something to turn; then queries stand where keys do.
        scale: Factor of the scores.
        dtype: Type to which operands of products are rounded.
    """
    query = operands[0]
    batch_size, num_queries, num_heads, _ = query.shape
    lse = numbers(batch_size, num_heads, num_queries)
    call = make_call("slimjax_attention_forward", (like(query), lse))
    options = dict(segmented=segmented, rotary=rotary, scale=np.float32(scale))
    mixed, lse = call(*operands, round=rounds(dtype), **options)
    return mixed, lse


def attention_backward(
    operands: tuple[Array, ...],
    mixed: Float[Array, "B T N H"],
    lse: Float[Array, "B N T"],
    slope: Float[Array, "B T N H"],
    *,
    segmented: bool,
    rotary: bool,
    scale: float,
    dtype: DTypeLike,
) -> tuple[Array, Array, Array]:
    """Returns the gradients of query, key and value; see `attention_forward`."""
    shapes = tuple(map(like, operands[:3]))
    options = dict(segmented=segmented, rotary=rotary, scale=np.float32(scale))
    call = make_call("slimjax_attention_backward", shapes)
    arrays = *operands, mixed, lse, slope
    dquery, dkey, dvalue = call(*arrays, round=rounds(dtype), **options)
    return dquery, dkey, dvalue
