"""The kernels as functions of arrays, one for each foreign call.

All arrays but positions, segments, targets, packed weights and caches are float32. With
``dtype=bfloat16`` operands of products are rounded on their way in; sums are float32 in
any case.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int, Num, Shaped

from slimjax.native.library import register

PANEL = 32
"""Columns that the kernels multiply together."""

MOST_ARRAYS = 24
"""Arrays that a call works on: XLA's time grows with the square of their number."""


def products_forward(
    x: Float[Array, "M I"], kernels: Sequence[Float[Array, "I _"]], dtype: DTypeLike
) -> tuple[Float[Array, "M _"], ...]:
    """Returns ``x @ kernel`` for each kernel."""
    shapes = tuple(_numbers(len(x), kernel.shape[1]) for kernel in kernels)
    call = _call("slimjax_products_forward", shapes)
    return tuple(call(x, *kernels, round=_rounds(dtype)))


def products_backward(
    x: Float[Array, "M I"],
    kernels: Sequence[Float[Array, "I _"]],
    slopes: Sequence[Float[Array, "M _"]],
    dtype: DTypeLike,
) -> tuple[Array, ...]:
    """Returns the gradient of x, then that of each kernel."""
    call = _call("slimjax_products_backward", (_like(x), *map(_like, kernels)))
    return tuple(call(x, *kernels, *slopes, round=_rounds(dtype)))


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
    kept_type = jnp.uint16 if _rounds(dtype) else jnp.float32
    kept = jax.ShapeDtypeStruct((len(x), padded), kept_type)
    call = _call("slimjax_mlp_forward", (_like(x), *[kept, kept] * keep))
    return tuple(call(x, gate, up, down, round=_rounds(dtype)))


def mlp_backward(
    x: Float[Array, "M D"],
    gate: Float[Array, "D F"],
    up: Float[Array, "D F"],
    down: Float[Array, "F D"],
    kept: tuple[Num[Array, "M _"], Num[Array, "M _"]],
    slope: Float[Array, "M D"],
    dtype: DTypeLike,
) -> tuple[Array, Array, Array, Array]:
    """Returns the gradients of x, gate, up and down; see `mlp_forward`."""
    call = _call("slimjax_mlp_backward", tuple(map(_like, (x, gate, up, down))))
    arrays = x, gate, up, down, *kept, slope
    dx, dgate, dup, ddown = call(*arrays, round=_rounds(dtype))
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
    call = _call("slimjax_norm_forward", (_like(x), _numbers(len(x))))
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
    call = _call("slimjax_norm_backward", (_like(x), _like(scale)))
    dx, dscale = call(x, scale, count, inverse, slope)
    return dx, dscale


def cross_entropy_forward(
    x: Float[Array, "M D"],
    table: Float[Array, "V D"],
    targets: Int[Array, " M"],
    dtype: DTypeLike,
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """Returns the target's score and the log-sum-exp of each row of ``x table^T``."""
    call = _call("slimjax_cross_entropy_forward", (_numbers(len(x)),) * 2)
    scores, lse = call(x, table, targets, round=_rounds(dtype))
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
    call = _call("slimjax_cross_entropy_backward", (_like(x), _like(table)))
    arrays = x, table, targets, lse, dscore, dlse
    dx, dtable = call(*arrays, round=_rounds(dtype))
    return dx, dtable


def attention_forward(
    operands: tuple[Array, ...], *, segmented: bool, rotary: bool, dtype: DTypeLike
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
        dtype: Type to which operands of products are rounded.
    """
    query = operands[0]
    batch_size, num_queries, num_heads, head_dim = query.shape
    lse = _numbers(batch_size, num_heads, num_queries)
    call = _call("slimjax_attention_forward", (_like(query), lse))
    scale = np.float32(head_dim**-0.5)
    options = dict(segmented=segmented, rotary=rotary, scale=scale)
    mixed, lse = call(*operands, round=_rounds(dtype), **options)
    return mixed, lse


def attention_backward(
    operands: tuple[Array, ...],
    mixed: Float[Array, "B T N H"],
    lse: Float[Array, "B N T"],
    slope: Float[Array, "B T N H"],
    *,
    segmented: bool,
    rotary: bool,
    dtype: DTypeLike,
) -> tuple[Array, Array, Array]:
    """Returns the gradients of query, key and value; see `attention_forward`."""
    shapes = tuple(map(_like, operands[:3]))
    scale = np.float32(mixed.shape[-1] ** -0.5)
    options = dict(segmented=segmented, rotary=rotary, scale=scale)
    call = _call("slimjax_attention_backward", shapes)
    arrays = *operands, mixed, lse, slope
    dquery, dkey, dvalue = call(*arrays, round=_rounds(dtype), **options)
    return dquery, dkey, dvalue


def rows_product(
    x: Float[Array, "M I"],
    panels: Shaped[Array, "P G 32 g"],
    scale: Float[Array, " _"],
    num_columns: int,
) -> Float[Array, "M O"]:
    """Returns the product with a matrix in the panels of `slimjax.nn.frozen`."""
    call = _call("slimjax_rows_product", _numbers(len(x), num_columns))
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
    call = _call("slimjax_mlp_step", _like(x))
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
    call = _call("slimjax_attention_step", (_like(x), *caches), places)
    options = dict(num_heads=num_heads, epsilon=np.float32(epsilon))
    out, key, value = call(x, norm, *operands, **options)
    return out, key, value


def square_sum(arrays: Sequence[Array]) -> Float[Array, ""]:
    """Returns the sum of the squares of all numbers in all arrays."""
    call = _call("slimjax_square_sum", _numbers())
    return sum((call(*part) for part in _parts(arrays)), jnp.zeros(()))


def add(left: Sequence[Array], right: Sequence[Array]) -> list[Array]:
    """Returns ``left + right``, array by array."""
    out = []
    for xs, ys in zip(_parts(left), _parts(right), strict=True):
        places = {i: i for i in range(len(xs))}
        out += _call("slimjax_add", tuple(map(_like, xs)), places)(*xs, *ys)
    return out


def adam(
    scalars: Float[Array, "4"],
    grads: Sequence[Array],
    moments: tuple[Sequence[Array], Sequence[Array]],
    weights: Sequence[Array],
    decays: Sequence[float],
    **betas: float,
) -> tuple[list[Array], list[Array], list[Array]]:
    """Returns updates and both moments after a step of AdamW, array by array.

    Args:
        scalars: Factors of the gradients, of the first and the second moment, and of
            the update.
        grads: Gradients.
        moments: First and second moments.
        weights: Weights, which decay.
        decays: What of each weight is added to its update, before the last factor.
        **betas: beta1, beta2 and epsilon.
    """
    outs = [], [], []
    options = {name: np.float32(value) for name, value in betas.items()}
    operands = map(_parts, (grads, *moments, weights, decays))
    for *parts, factors in zip(*operands, strict=True):
        count = len(factors)
        places = {1 + i: i for i in range(count, 3 * count)}
        call = _call("slimjax_adam", tuple(map(_like, parts[0])) * 3, places)
        found = call(
            *(scalars, *parts[0], *parts[1], *parts[2], *parts[3]),
            decays=np.asarray(factors, np.float32),
            **options,
        )
        for i, out in enumerate(outs):
            out += found[i * count : (i + 1) * count]
    return outs


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Returns items in parts for one call each."""
    return [items[i : i + MOST_ARRAYS] for i in range(0, len(items), MOST_ARRAYS)]


def _call(
    target: str, shapes: Any, aliases: dict[int, int] | None = None
) -> Callable[..., Any]:
    """Returns the foreign call; raises RuntimeError if the kernels cannot be had."""
    if not register():
        raise RuntimeError(f"{target} wants a C++ compiler; see slimjax.native.")
    return jax.ffi.ffi_call(
        target, shapes, vmap_method="sequential", input_output_aliases=aliases
    )


def _numbers(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _like(x: Array) -> jax.ShapeDtypeStruct:
    return _numbers(*x.shape)


def _rounds(dtype: DTypeLike) -> bool:
    return jnp.dtype(dtype) == jnp.bfloat16
