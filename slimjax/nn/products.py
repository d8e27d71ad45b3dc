"""The one matrix product of the library, fast forward and backward.

XLA's CPU backend reaches the matrix unit only with bfloat16 operands, a float32
result and operands that lie row by row; a product that contracts a leading axis, as
the gradient of a kernel does, falls to a slow loop. `product` therefore brings its
own gradient, and on CPU copies the operand that lies the wrong way. On other
platforms each product is one plain ``dot_general``. The platform is the one the
program is lowered for, not the host's, so a TPU program can be compiled on a CPU.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float


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
    rows = x.reshape(-1, x.shape[-1])
    out = _product(rows, kernel, jnp.dtype(dtype))
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x, kernel, dtype):
    return multiply(x.astype(dtype), kernel.astype(dtype))


def _product_fwd(x, kernel, dtype):
    x, like = x.astype(dtype), jnp.zeros((), x.dtype)
    return multiply(x, kernel.astype(dtype)), (x, kernel, like)


def _product_bwd(dtype, residuals, slope):
    x, kernel, like = residuals
    slope = slope.astype(dtype)
    dx = multiply(slope, kernel.astype(dtype), transpose_right=True)
    dkernel = multiply(x, slope, transpose_left=True)
    return dx.astype(like.dtype), dkernel.astype(kernel.dtype)


_product.defvjp(_product_fwd, _product_bwd)


def multiply(
    left: Float[Array, "*batch I J"],
    right: Float[Array, "*batch J O"],
    *,
    transpose_left: bool = False,
    transpose_right: bool = False,
) -> Float[Array, "*batch I O"]:
    """Returns the product of two matrices (or stacks of them), in float32.

    It has no gradient of its own: it is what gradients are made of.

    Args:
        left: Left operand; its last two axes are swapped first if `transpose_left`.
        right: Right operand, of the same type; likewise with `transpose_right`.
        transpose_left: Whether `left` contracts its rows. On CPU it is then copied.
        transpose_right: Whether `right` contracts its columns. Costs nothing.
    """
    num_batch = left.ndim - 2
    batch = tuple(range(num_batch))

    def plain(left, right):
        contract_left = num_batch + (0 if transpose_left else 1)
        contract_right = num_batch + (1 if transpose_right else 0)
        return lax.dot_general(
            left,
            right,
            (((contract_left,), (contract_right,)), (batch, batch)),
            preferred_element_type=jnp.float32,
        )

    def on_cpu(left, right):
        if left.dtype == jnp.float32:
            return plain(left, right)
        if transpose_left:
            left = _copy_transposed(left)
        contract_right = num_batch + (1 if transpose_right else 0)
        # The barriers keep XLA from folding a neighbouring transpose into the product,
        # which would leave the matrix unit, or find no kernel at all.
        left, right = lax.optimization_barrier((left, right))
        out = lax.dot_general(
            left,
            right,
            (((num_batch + 1,), (contract_right,)), (batch, batch)),
            preferred_element_type=jnp.float32,
        )
        return lax.optimization_barrier(out)

    return lax.platform_dependent(left, right, cpu=on_cpu, default=plain)


def _copy_transposed(x):
    """Returns `x` with its last two axes swapped, in memory too.

    A bare transpose only renames the axes. The detour over another shape makes the
    compiler see rows where it decides which products the matrix unit takes.
    """
    x = jnp.swapaxes(x, -1, -2)
    return lax.optimization_barrier(x[None]).reshape(x.shape)
