"""Cross entropy and divergence from a teacher, in one pass over the vocabulary.

The logits of two models, [tokens, V] each, exist for one block of tokens at a time.
Sums are returned, no losses of single tokens: so the gradient, up to one factor, can be
taken while a block's logits are there, and nothing is computed twice.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.distill.outcomes import Outcomes, outcome_divergence
from slimjax.nn.axes import map_rows
from slimjax.nn.cross_entropy import BLOCK_TOKENS
from slimjax.nn.products import lay_in_rows, multiply, round_to
from slimjax.nn.readout import Readout

Sum = Float[Array, ""]


class _Options(NamedTuple):
    temperature: float
    dtype: jnp.dtype
    with_slopes: bool = False


def distilled_sums(
    student: Readout,
    teacher: Readout | Outcomes,
    targets: Int[Array, "B T"],
    mask: Float[Array, "B T"],
    weight: Float[Array, ""] | float,
    *,
    temperature: float = 1.0,
    dtype: DTypeLike = jnp.float32,
    block_tokens: int = BLOCK_TOKENS,
) -> tuple[Sum, Sum, Sum]:
    """Returns sums over tokens: the mixed error, cross entropy, divergence.

    The mixed error is ``(1 - w) * CE + w * T^2 * KL(teacher || student)``, where KL is
    of the softmax of logits / T; T^2 keeps its gradient's size. Only it has a gradient,
    and only with respect to the student. Of a teacher's outcomes, KL is over these
    (see `slimjax.distill.outcomes`).

    Args:
        student: What learns.
        teacher: What is learned from; its D may be another one, or outcomes of it.
        targets: The right tokens.
        mask: 1 where a token counts, 0 where it does not.
        weight: The teacher's share w.
        temperature: T.
        dtype: Type of the products' operands; all else is float32.
        block_tokens: How many tokens have their logits in memory at once.

    References:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
        section 2.
        Hsu et al., "Liger Kernel", 2024, section 3.2 (gradient going forward).
    """
    options = _Options(temperature, jnp.dtype(dtype))

    def add_up(rows: tuple[Any, ...], whole: tuple[Any, ...]) -> list[Array]:
        length = max(block_tokens // len(rows[0]), 1)
        x, *rest = jax.tree.map(lambda x: _in_blocks(x, length), rows)
        sums = cast(Any, _sums(x, whole[0], whole[1], tuple(rest), whole[2], options))
        return [x.reshape(1, 1) for x in sums]

    student, outputs, table = student.plain(), teacher, None
    if isinstance(teacher, Readout):
        teacher = teacher.plain()
        outputs, table = teacher.x, teacher.table
    rows = (student.x, outputs, targets, mask)
    whole = student.table, table, jnp.asarray(weight, jnp.float32)
    mixed, nats, away = (jnp.sum(parts) for parts in map_rows(add_up, rows, whole))
    return mixed, lax.stop_gradient(nats), lax.stop_gradient(away)


def _in_blocks(x: Array, length: int) -> Array:
    """Returns [B T ...] as [blocks B length ...], T padded with zeros."""
    padding = ((0, 0), (0, -x.shape[1] % length), *((0, 0),) * (x.ndim - 2))
    x = jnp.pad(x, padding)
    return jnp.moveaxis(x.reshape(len(x), -1, length, *x.shape[2:]), 1, 0)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _sums(x, table, teacher_table, rest, weight, options):
    return _scan(x, table, teacher_table, rest, weight, options)[0]


def _sums_fwd(x, table, teacher_table, rest, weight, options):
    options = options._replace(with_slopes=True)
    return _scan(x, table, teacher_table, rest, weight, options)


def _sums_bwd(_, slopes, cotangents):
    factor = cotangents[0]
    dx, dtable = (slope * factor.astype(slope.dtype) for slope in slopes)
    return dx, dtable, None, None, None


_sums.defvjp(_sums_fwd, _sums_bwd)


def _scan(x, table, teacher_table, rest, weight, options):
    """Returns the three sums, and the gradients of x and table if they are wanted."""
    narrow = lambda table: table.astype(options.dtype)
    columns = lay_in_rows(narrow(table).T)  # D V

    def add_block(carry, block):
        sums, dtable = carry
        flat = lambda a: a.reshape(-1, *a.shape[2:])
        rows, outputs, right, mask = jax.tree.map(flat, block)
        rows = narrow(rows)
        # Transposed, [V tokens], so that the gradient finds all operands row by row.
        logits = multiply(narrow(table), rows, transpose_right=True)
        if teacher_table is not None:
            outputs = multiply(
                narrow(teacher_table), narrow(outputs), transpose_right=True
            )
        new, share = _compare(logits, outputs, right, mask, weight, options.temperature)
        sums = tuple(a + b for a, b in zip(sums, new, strict=True))
        if not options.with_slopes:
            return (sums, dtable), None
        share = lax.optimization_barrier(round_to(share, options.dtype))
        dx = multiply(columns, share).T.reshape(block[0].shape)
        return (sums, dtable + multiply(share, rows)), dx.astype(x.dtype)

    zero = jnp.zeros((), jnp.float32)
    shape = table.shape if options.with_slopes else ()
    start = (zero,) * 3, jnp.zeros(shape, jnp.float32)
    (sums, dtable), dx = lax.scan(add_block, start, (x, *rest))
    return sums, (dx, dtable.astype(table.dtype))


def _compare(
    logits: Float[Array, "V M"],
    outputs: Float[Array, "V M"] | Outcomes,
    right: Int[Array, " M"],
    mask: Float[Array, " M"],
    weight: Float[Array, ""] | float,
    temperature: float,
) -> tuple[tuple[Sum, Sum, Sum], Float[Array, "V M"]]:
    """Returns the three sums of a block, and the mixed error's gradient."""
    log_p = jax.nn.log_softmax(logits, axis=0)
    nats = -jnp.take_along_axis(log_p, right[None], axis=0)[0]
    diverge = outcome_divergence if isinstance(outputs, Outcomes) else _divergence
    divergence, slope = cast(Any, diverge)(logits, outputs, temperature)
    mixed = (1 - weight) * nats + weight * temperature**2 * divergence
    sums = tuple(jnp.sum(mask * x) for x in (mixed, nats, divergence))

    hot = jnp.arange(len(logits))[:, None] == right[None]
    share = (1 - weight) * (jnp.exp(log_p) - hot) + weight * temperature * slope
    return cast(Any, sums), share * mask[None]


def _divergence(
    logits: Float[Array, "V M"], taught: Float[Array, "V M"], temperature: float
) -> tuple[Float[Array, " M"], Float[Array, "V M"]]:
    """Returns ``KL(t || q)`` of two models' logits, and T times its gradient."""
    log_q = jax.nn.log_softmax(logits / temperature, axis=0)
    log_t = jax.nn.log_softmax(taught / temperature, axis=0)
    t = jnp.exp(log_t)
    return jnp.sum(t * (log_t - log_q), axis=0), jnp.exp(log_q) - t
