"""Matrices that are only read: rounded once, and laid out for products of few rows.

To make one token, all weights are read once: on a CPU the time is that of the bytes.
Where the kernels of `slimjax.native` run, a frozen matrix lies in the panels they read,
elsewhere it is one plain array; the products are the same.
"""

import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, Num, PyTree

from slimjax.native import decode_calls
from slimjax.nn.products import multiply

FORMATS = ("float32", "bfloat16", "int8")
COLUMNS = 32
"""Columns of a panel."""
STEPS = 16
"""A panel's length is a multiple of so many groups of four bytes."""


@struct.dataclass
class Frozen:
    """A matrix ``[I, O]``, for products ``x @ matrix``.

    Attributes:
        data: Its transpose ``[O, I]``, float32, bfloat16 or int8; or panels ``[P G 32
            g]``, g numbers of four bytes together, O = 32 P and I = g G filled up with
            zeros, and 128 added to what was int8.
        scale: What a step of int8 is worth in each column, float32 ``[O]``, filled up
            like `data`; empty for other formats.
        num_columns: O.
    """

    data: PyTree
    scale: PyTree
    num_columns: int = struct.field(pytree_node=False)

    @property
    def is_in_panels(self) -> bool:
        """Whether it is laid out for the kernels."""
        return self.data.ndim == 4


def freeze(kernel: Float[Array, "I O"], weights: str, *, in_panels: bool) -> Frozen:
    """Rounds a matrix to a format of `FORMATS` and lays it out.

    Int8 has a scale for each column, so that its largest weight becomes 127. Only
    kernels can read panels.
    """
    data, scale = kernel.T, jnp.zeros(0)
    if weights == "int8":
        data, scale = quantize_rows(data)
    data = data.astype(weights)
    if in_panels:
        scale = jnp.pad(scale, (0, -scale.size % COLUMNS))
        data = lay_in_panels(data)
    return Frozen(data, scale, kernel.shape[1])


def lay_in_panels(data: Num[Array, "O I"]) -> Num[Array, "P G 32 g"]:
    """Returns the columns of a matrix, given as rows, in panels."""
    group = 4 // data.dtype.itemsize
    num_columns, depth = data.shape
    padding = (-num_columns % COLUMNS, -depth % (STEPS * group))
    data = jnp.pad(data, [(0, size) for size in padding])
    data = data.reshape(-1, COLUMNS, data.shape[1] // group, group).swapaxes(1, 2)
    if data.dtype == jnp.int8:
        data = (data.astype(jnp.int16) + 128).astype(jnp.uint8)
    return data


def quantize_rows(x: Float[Array, "M I"]) -> tuple[Int[Array, "M I"], Array]:
    """Returns int8 numbers and each row's scale, ``x = numbers * scale[:, None]``.

    References:
        Dettmers et al., "LLM.int8()", 2022, section 2.1 (vector-wise quantization).
    """
    most = jnp.abs(x).max(axis=1, initial=0.0)
    steps = jnp.where(most > 0, 127.0 / most, 0.0)
    return jnp.round(x * steps[:, None]).astype(jnp.int8), most / 127.0


def frozen_product(
    x: Float[Array, "*batch I"], matrix: Frozen
) -> Float[Array, "*batch O"]:
    """Returns ``x @ matrix``, float32.

    Rows are rounded to the matrix's type on their way in; int8 rows have a scale each.
    """
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    if matrix.is_in_panels:
        out = decode_calls.rows_product(
            rows, matrix.data, matrix.scale, matrix.num_columns
        )
    elif matrix.data.dtype == jnp.int8:
        numbers, scale = quantize_rows(rows)
        axes = ((1,), (1,)), ((), ())
        out = lax.dot_general(
            numbers, matrix.data, axes, preferred_element_type=jnp.int32
        )
        out = out.astype(jnp.float32) * scale[:, None] * matrix.scale[None]
    else:
        rows = rows.astype(matrix.data.dtype)
        out = multiply(rows, matrix.data, transpose_right=True)
    return out.reshape(*x.shape[:-1], matrix.num_columns)


def frozen_columns(
    matrix: Frozen, columns: Int[Array, "*batch"], depth: int
) -> Float[Array, "*batch I"]:
    """Returns columns of a matrix of `depth` rows, as rows, float32."""
    if matrix.is_in_panels:
        found = matrix.data[columns // COLUMNS, :, columns % COLUMNS]
        found = found.reshape(*columns.shape, -1)[..., :depth]
    else:
        found = matrix.data[columns]
    if not matrix.scale.size:
        return found.astype(jnp.float32)
    offset = 128.0 if matrix.is_in_panels else 0.0
    numbers = found.astype(jnp.float32) - offset
    return numbers * matrix.scale[columns][..., None]
