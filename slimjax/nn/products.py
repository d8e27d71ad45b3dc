"""The one matrix product of the library, fast forward and backward.

On one CPU, large products in bfloat16 go to `slimjax.native`; those in float32 are
XLA's, which are as fast or faster. Where `slimjax.native` cannot be had, XLA's CPU
backend reaches the matrix unit only with bfloat16 operands, a float32 result and
operands that lie row by row; a product that contracts a leading axis, as the gradient
of a kernel does, falls to a slow loop. `product` therefore brings its own gradient,
and on CPU copies the operand that lies the wrong way. On other platforms each product
is one plain ``dot_general``. The platform is the one the program is lowered for, not
the host's, so a TPU program can be compiled on a CPU (with `slimjax.native.off`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from slimjax import native
from slimjax.native import calls
from slimjax.nn.axes import mesh_to_share, num_parts

MIN_ROWS = 32
"""Rows from which packing the kernel for the native product pays."""


def is_many(num_rows: Any) -> bool:
    """Whether native kernels pay for so many rows; a number that is a symbol is none.

    Examples:
        >>> is_many(31), is_many(32)
        (False, True)
    """
    return isinstance(num_rows, int) and num_rows >= MIN_ROWS


def product(
    x: Float[Array, "*batch I"], kernel: Float[Array, "I O"], dtype: DTypeLike
) -> Float[Array, "*batch O"]:
    """Returns ``x @ kernel`` in float32, with operands rounded to `dtype`.

    Sums are taken in float32, forward and backward. The gradients are products of
    the same kind: the incoming gradient is rounded to `dtype` too, and that of the
    kernel is accumulated and returned in the kernel's own type.

    Args:
        x: Rows to be mapped.
        kernel: The matrix.
        dtype: Type of the operands, float32 or bfloat16.

    Examples:
        >>> import jax.numpy as jnp
        >>> product(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.bfloat16)
        Array([[3.],
               [3.]], dtype=float32)
    """
    return products(x, (kernel,), dtype)[0]


def products(
    x: Float[Array, "*batch I"],
    kernels: Sequence[Float[Array, "I _"]],
    dtype: DTypeLike,
) -> tuple[Float[Array, "*batch _"], ...]:
    """Returns `product` of the same rows with each kernel, faster than one by one."""
    rows, dtype = _as_rows(x), jnp.dtype(dtype)
    if dtype == jnp.bfloat16 and is_many(rows.shape[0]) and native.is_enabled():
        outs = cast(Any, _native_products(rows, tuple(kernels)))
    else:
        outs = [cast(Array, _product(rows, kernel, dtype)) for kernel in kernels]
    return tuple(out.reshape(*x.shape[:-1], out.shape[-1]) for out in outs)


def sums(dtype: DTypeLike) -> dict[str, Any]:
    """Returns the options of a product of such operands: it is summed in float32.

    Operands of float32 are taken as they are. By default a GPU would round them to
    TF32, and a TPU to bfloat16, so that closed and cut units would differ by 1e-3.

    Args:
        dtype: Type of both operands.

    Examples:
        >>> sums(jnp.float32)["precision"], sums(jnp.bfloat16)["precision"]
        (Precision.HIGHEST, None)
    """
    is_whole = jnp.dtype(dtype) == jnp.float32
    precision = lax.Precision.HIGHEST if is_whole else None
    return {"precision": precision, "preferred_element_type": jnp.float32}


def _as_rows(x):
    """Returns `x` as one list of rows, [M I], unless devices share its positions.

    Rows of which each device has a stretch of every text are no stretch of that list,
    so they would be brought together for it.
    """
    mesh = mesh_to_share()
    if mesh is not None and num_parts("positions", mesh.shape) > 1:
        return x
    return x.reshape(-1, x.shape[-1])


def _sum_over_rows(x, slope):
    """Returns ``x^T slope``, the sum over rows [*batch I] and [*batch O]."""
    if x.ndim == 2:
        return multiply(x, slope, transpose_left=True)
    rows = tuple(range(x.ndim - 1))
    axes = (rows, rows), ((), ())
    return lax.dot_general(x, slope, axes, **sums(x.dtype))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x, kernel, dtype) -> Array:
    return multiply(x.astype(dtype), kernel.astype(dtype))


def _product_fwd(x, kernel, dtype):
    # `round_to` would be fused into later users, and x be kept in float32 for them.
    rounded, like = x.astype(dtype), jnp.zeros((), x.dtype)
    return multiply(rounded, kernel.astype(dtype)), (rounded, kernel, like)


def _product_bwd(dtype, residuals, slope):
    x, kernel, like = residuals
    slope = round_to(slope, dtype)
    dx = multiply(slope, kernel.astype(dtype), transpose_right=True)
    dkernel = _sum_over_rows(x, slope)
    return dx.astype(like.dtype), dkernel.astype(kernel.dtype)


_product.defvjp(_product_fwd, _product_bwd)


@jax.custom_vjp
def _native_products(x, kernels):
    return calls.products_forward(x.astype(jnp.float32), kernels)


def _native_products_fwd(x, kernels):
    return _native_products(x, kernels), (x, kernels)


def _native_products_bwd(residuals, slopes):
    x, kernels = residuals
    rows = x.astype(jnp.float32)
    dx, *dkernels = calls.products_backward(rows, kernels, slopes)
    return dx.astype(x.dtype), tuple(dkernels)


_native_products.defvjp(_native_products_fwd, _native_products_bwd)


def multiply(
    left: Float[Array, "*left"],
    right: Float[Array, "*right"],
    *,
    transpose_left: bool = False,
    transpose_right: bool = False,
) -> Float[Array, "*out"]:
    """Returns the product of two matrices (or stacks of them), in float32.

    That is ``[*batch I J] x [*batch J O] -> [*batch I O]``, if none is transposed.

    It has no gradient of its own: it is what gradients are made of.

    Args:
        left: Left operand; its last two axes are swapped first if `transpose_left`,
            else it may have rows on more axes than one.
        right: Right operand, of the same type; likewise with `transpose_right`.
        transpose_left: Whether `left` contracts its rows. On CPU it is then copied.
        transpose_right: Whether `right` contracts its columns. Costs nothing.
    """
    num_batch = right.ndim - 2
    batch = tuple(range(num_batch))
    contract_right = num_batch + (1 if transpose_right else 0)

    def dot(left, right, contract_left):
        axes = ((contract_left,), (contract_right,)), (batch, batch)
        return lax.dot_general(left, right, axes, **sums(left.dtype))

    def plain(left, right):
        return dot(left, right, num_batch if transpose_left else left.ndim - 1)

    def on_cpu(left, right):
        if left.dtype != jnp.bfloat16:
            return plain(left, right)
        if transpose_left:
            left = jnp.swapaxes(left, -1, -2)
        # Without the barriers XLA folds a neighbouring transpose into the product,
        # which then leaves the matrix unit, or finds no kernel at all.
        left, right = lax.optimization_barrier((lay_in_rows(left), lay_in_rows(right)))
        return lax.optimization_barrier(dot(left, right, left.ndim - 1))

    return lax.platform_dependent(left, right, cpu=on_cpu, default=plain)


def lay_in_rows(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns `x`, copied into row-major order if it is a transposed view on CPU.

    The detour over another shape matters: a bare transpose carries a column-major
    layout to the pass that decides which products the matrix unit takes.
    """
    return lax.optimization_barrier(x[None]).reshape(x.shape)


def round_to(x: Float[Array, "*shape"], dtype: DTypeLike) -> Float[Array, "*shape"]:
    """Returns ``x.astype(dtype)``, about twice as fast from float32 to bfloat16 on CPU.

    The bits are those of ``astype`` for every number; of a NaN only being one stays.
    """
    if x.dtype != jnp.float32 or dtype != jnp.bfloat16:
        return x.astype(dtype)

    def on_cpu(x):
        bits = lax.bitcast_convert_type(x, jnp.uint32)
        bits += 0x7FFF + ((bits >> 16) & 1)  # To the nearest, ties to even.
        bits = (bits >> 16).astype(jnp.uint16)
        return lax.bitcast_convert_type(bits, jnp.bfloat16)

    def plain(x):
        return x.astype(jnp.bfloat16)

    return lax.platform_dependent(x, cpu=on_cpu, default=plain)
