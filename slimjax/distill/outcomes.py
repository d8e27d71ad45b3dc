"""What a teacher says of a token, cut down to k + 1 outcomes.

The outcomes are the k most probable tokens, and that it is any other one. Their
logarithms are rounded to float16 once, where they are made: so a number that was read
from a disk is the one that was just computed.

With one outcome for all other tokens, the divergence is a lower bound of that of the
whole distributions, and equal to it when k = V.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from slimjax.data.dataset import Field
from slimjax.models.config import ModelConfig
from slimjax.nn.axes import map_rows
from slimjax.nn.cross_entropy import BLOCK_TOKENS
from slimjax.nn.products import multiply
from slimjax.tasks.base import Task

LOG_TYPE = np.float16
"""Type of logarithms: eight times as fine as bfloat16, where they are below 16."""

LEAST_LOG = float(np.finfo(LOG_TYPE).min)
NEVER = -1e30  # Finite, so that nothing becomes NaN where no other token is left.


class Outcomes(NamedTuple):
    """The most probable tokens, and how probable they and all others are.

    Arrays of JAX or NumPy: they wait on a disk.

    Attributes:
        ids: Their numbers, the most probable first.
        logs: Natural logarithms of their probabilities, then that of all other tokens.
    """

    ids: Any  # Int [*batch k]
    logs: Any  # Float [*batch k+1]


def outcome_fields(positions: int, top_k: int) -> dict[str, Field]:
    """Returns what the arrays of outcomes are in a batch: ``ids`` and ``logs``."""
    axes = ("positions", None)
    return {
        "ids": Field((positions, top_k), "int32", axes),
        "logs": Field((positions, top_k + 1), np.dtype(LOG_TYPE).name, axes),
    }


def find_outcomes(logits: Float[Array, "M V"], top_k: int) -> Outcomes:
    """Returns the outcomes that logits tell.

    Examples:
        >>> outcomes = find_outcomes(jnp.log(jnp.array([[0.1, 0.6, 0.3]])), 1)
        >>> outcomes.ids, jnp.exp(outcomes.logs)
        (Array([[1]], dtype=int32), Array([[0.6, 0.4]], dtype=float16))
    """
    top, ids = lax.top_k(logits, top_k)
    others = logits.at[jnp.arange(len(ids))[:, None], ids].set(NEVER)
    log_norm = jax.nn.logsumexp(logits, axis=1, keepdims=True)
    rest = jax.nn.logsumexp(others, axis=1, keepdims=True)
    logs = jnp.concatenate([top, rest], axis=1) - log_norm
    return Outcomes(ids, jnp.maximum(logs, LEAST_LOG).astype(LOG_TYPE))


def make_outcomes_fn(
    task: Task, model: ModelConfig, top_k: int
) -> Callable[[PyTree, PyTree], Outcomes]:
    """Returns the function from (variables, batch) to outcomes ``[B T k]``.

    They are of the first head. Logits exist for one block of tokens at a time.
    """
    dtype, network = jnp.dtype(model.dtype), model.module()

    def outcomes_fn(variables: PyTree, batch: PyTree) -> Outcomes:
        readouts = network.apply(variables, task.inputs(batch, None))
        readout = readouts[model.heads[0].name].plain()
        x, table = readout.x.astype(dtype), readout.table.astype(dtype)
        return map_rows(in_blocks, x, table)

    def in_blocks(x: Array, table: Array) -> Outcomes:
        rows = x.reshape(-1, x.shape[-1])
        blocks = jnp.pad(rows, ((0, -len(rows) % BLOCK_TOKENS), (0, 0)))
        blocks = blocks.reshape(-1, BLOCK_TOKENS, x.shape[-1])
        find = lambda x: find_outcomes(multiply(x, table, transpose_right=True), top_k)
        found = lax.map(find, blocks)
        flat = lambda y: y.reshape(-1, y.shape[-1])[: len(rows)]
        return jax.tree.map(lambda y: flat(y).reshape(*x.shape[:2], -1), found)

    return outcomes_fn


def outcome_divergence(
    logits: Float[Array, "V M"],
    outcomes: Outcomes,
    temperature: float,
) -> tuple[Float[Array, " M"], Float[Array, "V M"]]:
    """Returns ``KL(t || u)`` over k + 1 outcomes, and T times its gradient by logits.

    With z the student's logits, and one outcome for all other tokens, ``r``::

        z_r = log sum_{v not in ids} exp z_v
        u = softmax((z_1, ..., z_k, z_r) / T)
        t = softmax(logs / T)
        T dKL/dz_i = u_i - t_i                               of the k tokens
        T dKL/dz_v = (u_r - t_r) exp(z_v - z_r)              of all others

    At a temperature other than 1 it is the k + 1 outcomes that are made warmer, not the
    tokens within the last one, of which nothing is known.

    Args:
        logits: The student's, transposed.
        outcomes: The teacher's, ``[M k]`` and ``[M k+1]``.
        temperature: T.
    """
    ids, columns = outcomes.ids.T, jnp.arange(logits.shape[1])[None]
    others = logits.at[ids, columns].set(NEVER)
    z_r = jax.nn.logsumexp(others, axis=0, keepdims=True)
    z = jnp.concatenate([jnp.take_along_axis(logits, ids, axis=0), z_r])
    log_u = jax.nn.log_softmax(z / temperature, axis=0)
    logs = outcomes.logs.astype(jnp.float32).T
    log_t = jax.nn.log_softmax(logs / temperature, axis=0)
    t = jnp.exp(log_t)
    away = jnp.exp(log_u) - t
    slope = away[-1:] * jnp.exp(others - z_r)
    slope = slope.at[ids, columns].set(away[:-1])
    return jnp.sum(t * (log_t - log_u), axis=0), slope
