"""Texts drawn at random: one for each row, each with a key of its own.

Token i of a row is drawn by ``fold_in(key of the row, i)``, so a row gives the same
text in any company. A log-probability is that of the model, whatever the temperature.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from slimjax.generate.beam import Ends
from slimjax.generate.decode import (
    Source,
    Writer,
    fit_prompts,
    is_end,
    read_beginnings,
)
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.sampling import Sampling, sample
from slimjax.nn.axes import on_mesh_of, to_host


@struct.dataclass
class Drawn:
    """Texts of B rows, with room for L tokens.

    Attributes:
        cache: What the rows have read, all but their newest token.
        newest: The newest token, ``[B]``.
        tokens: Those that were drawn, ``[B L]``; padding at and behind the end.
        log_p: Their log-probability, the end counted, ``[B]``.
        done: Whether a text has ended, ``[B]``.
        length: Tokens that were drawn for each row.
    """

    cache: PyTree
    newest: PyTree
    tokens: PyTree
    log_p: PyTree
    done: PyTree
    length: PyTree


def draw(
    model: Writer,
    prompts: Sequence[np.ndarray],
    keys: Array,
    *,
    ends: Ends,
    decode: DecodeConfig,
    source: Source = None,
) -> tuple[Int[np.ndarray, "B L"], Float[np.ndarray, " B"]]:
    """Returns a text after each prompt, and its log-probability.

    Args:
        model: The model, as `slimjax.models.cached.freeze_decoder` prepares it.
        prompts: Ids of each prompt, one or more.
        keys: The root of the randomness of each row, ``[B]``.
        ends: Ids that end texts.
        decode: Temperature, which tokens may come, and the longest text.
        source: What other towers read, one row for each prompt.

    Returns:
        Tokens without the end, then padding; and log p in nats, the end counted.

    Raises:
        ConfigError: If the rows are too long, or do not fit the memory that is free.
    """
    room = decode.max_new_tokens
    rows, lengths = fit_prompts(model, prompts, room, source)
    sampling = Sampling(decode.temperature, decode.top_k, decode.top_p)
    own = (model, rows, lengths, keys, source)
    with on_mesh_of(model):
        found = _draw(*own, ends, room, sampling)
    return to_host(found)


@partial(jax.jit, static_argnums=(5, 6, 7))
def _draw(
    model: Writer,
    rows: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    keys: Array,
    source: Any,
    ends: Ends,
    room: int,
    sampling: Sampling,
) -> tuple[Int[Array, "B L"], Float[Array, " B"]]:
    num_rows = len(rows)
    start = Drawn(
        cache=read_beginnings(model, rows, lengths, room, source),
        newest=jnp.take_along_axis(rows, (lengths - 1)[:, None], axis=1)[:, 0],
        tokens=jnp.full((num_rows, room), ends.pad, jnp.int32),
        log_p=jnp.zeros(num_rows),
        done=jnp.zeros(num_rows, bool),
        length=jnp.int32(0),
    )

    def goes_on(drawn: Drawn) -> Array:
        return (drawn.length < room) & ~drawn.done.all()

    step = partial(_step, model, lengths - 1, keys, ends, sampling)
    drawn = lax.while_loop(goes_on, step, start)
    return drawn.tokens, drawn.log_p


def _step(
    model: Writer,
    position: Int[Array, " B"],
    keys: Array,
    ends: Ends,
    sampling: Sampling,
    drawn: Drawn,
) -> Drawn:
    """Returns the texts with one more token, but for those that have ended."""
    places = (position + drawn.length)[:, None]
    x, cache = model(drawn.newest[:, None], places, drawn.cache)
    logits = model.logits(x[:, 0], cache)
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, drawn.length)
    token = sample(logits, step_keys, sampling)
    own = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=1)[:, 0]
    done = drawn.done | is_end(token, ends.ids)
    shown = jnp.where(done, ends.pad, token)
    return Drawn(
        cache=cache,
        newest=token,
        tokens=lax.dynamic_update_index_in_dim(
            drawn.tokens, shown, drawn.length, axis=1
        ),
        log_p=drawn.log_p + jnp.where(drawn.done, 0.0, own),
        done=done,
        length=drawn.length + 1,
    )
