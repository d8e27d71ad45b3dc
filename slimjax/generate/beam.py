"""Beam search: the likeliest text of a model for each row, in one compiled loop.

Each row has k beams: texts that go on. A step scores all tokens after all beams, and
keeps the k likeliest texts that go on, and the best one that has ended. A text is
ranked by

    log p(text) / ((5 + n) / 6)^a

where n is its number of tokens, the end counted, and a the length penalty. A row is
over when no beam can become better than its ended text. With one beam a is 0, and only
an end that is the likeliest token counts: this is greedy decoding.

References:
    Wu et al., "Google's Neural Machine Translation System", 2016, section 7 (the
    length penalty, without the coverage penalty).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from slimjax.generate.decode import (
    Source,
    Writer,
    fit_prompts,
    is_end,
    read_beginnings,
)
from slimjax.generate.decode_config import DecodeConfig
from slimjax.nn.axes import on_mesh_of, to_host

NEVER = -1e30
"""Score of what cannot be, finite so that no difference of two is NaN."""


class Ends(NamedTuple):
    """The id that ends a text, the one behind its end, and others that end one."""

    eos: int
    pad: int
    more: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids that end a text."""
        return (self.eos, *self.more)


@struct.dataclass
class Prompts:
    """What the texts go on from: all but the newest token is in a cache.

    Attributes:
        newest: The last token of each prompt, ``[B]``.
        position: Where it stands, ``[B]``.
    """

    newest: PyTree
    position: PyTree


@struct.dataclass
class Beams:
    """Texts of B rows, k that go on and one that has ended, with room for L tokens.

    Attributes:
        cache: What the beams have read, B k rows.
        tokens: Texts that go on, the best first, ``[B k L]``.
        scores: Their log-probabilities, ``[B k]``.
        ended: The best text that has ended, with eos, ``[B L]``.
        rank: What it is ranked by, ``[B]``.
        log_p: Its log-probability, ``[B]``.
        length: Tokens of the beams so far.
    """

    cache: PyTree
    tokens: PyTree
    scores: PyTree
    ended: PyTree
    rank: PyTree
    log_p: PyTree
    length: PyTree


def search(
    model: Writer,
    prompts: Sequence[np.ndarray],
    *,
    ends: Ends,
    decode: DecodeConfig,
    source: Source = None,
) -> tuple[Int[np.ndarray, "B L"], Float[np.ndarray, " B"]]:
    """Returns the best text after each prompt, and its log-probability.

    Rows are independent of each other: a row gives the same text in any company. Where
    no text has ended when the room is used up, the likeliest counts without an end.

    Args:
        model: The model, as `slimjax.models.cached.freeze_decoder` prepares it.
        prompts: Ids of each prompt, one or more; that which begins a row is the first.
        ends: Ids that end texts.
        decode: Beams, length penalty and longest text.
        source: What other towers read, one row for each prompt.

    Returns:
        Tokens without the end, then padding; and log p in nats, the end counted.
    """
    room, copies = decode.max_new_tokens, decode.beam_size
    rows, lengths = fit_prompts(model, prompts, room, source, copies=copies)
    with on_mesh_of(model):
        found = _search(model, rows, lengths, source, ends, decode)
    return to_host(found)


@partial(jax.jit, static_argnums=(4, 5))
def _search(
    model: Writer,
    rows: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    source: Any,
    ends: Ends,
    decode: DecodeConfig,
) -> tuple[Int[Array, "B L"], Float[Array, " B"]]:
    newest = jnp.take_along_axis(rows, (lengths - 1)[:, None], axis=1)[:, 0]
    prompts = Prompts(newest, lengths - 1)
    start = _start(model, rows, lengths, source, ends, decode)

    def goes_on(beams: Beams) -> Array:
        is_room = beams.length < decode.max_new_tokens
        return is_room & ~_is_over(beams, decode).all()

    step = partial(_step, model, prompts, ends, decode)
    return _choose(lax.while_loop(goes_on, step, start), ends)


def _start(
    model: Writer,
    rows: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    source: Any,
    ends: Ends,
    decode: DecodeConfig,
) -> Beams:
    """Returns the beams before the first new token: but the first, none ever wins."""
    num_rows, k, length = len(rows), decode.beam_size, decode.max_new_tokens
    cache = read_beginnings(model, rows, lengths, length, source)
    cache = _pick(cache, jnp.repeat(jnp.arange(num_rows), k))
    tokens = jnp.full((num_rows, k, length), ends.pad, jnp.int32)
    scores = jnp.full((num_rows, k), NEVER, jnp.float32).at[:, 0].set(0.0)
    never = jnp.full(num_rows, NEVER, jnp.float32)
    return Beams(cache, tokens, scores, tokens[:, 0], never, never, jnp.int32(0))


def _step(
    model: Writer, prompts: Prompts, ends: Ends, decode: DecodeConfig, beams: Beams
) -> Beams:
    """Returns the beams with one more token."""
    num_rows, k, _ = beams.tokens.shape
    each = lambda x: jnp.repeat(x, k)[:, None]
    place = jnp.maximum(beams.length - 1, 0)
    newest = lax.dynamic_index_in_dim(beams.tokens, place, axis=2, keepdims=False)
    newest = jnp.where(beams.length == 0, each(prompts.newest), newest.reshape(-1, 1))
    x, cache = model(newest, each(prompts.position) + beams.length, beams.cache)
    log_p = jax.nn.log_softmax(model.logits(x[:, 0], cache))
    scores = beams.scores[..., None] + log_p.reshape(num_rows, k, -1)
    scores = scores.reshape(num_rows, -1)
    # Each of k beams ends in as many ways as there are ends, so that k go on.
    most = k * (1 + len(ends.ids))
    scores, found = lax.top_k(scores, min(most, scores.shape[1]))
    parents, tokens = jnp.divmod(found, log_p.shape[1])
    texts = jnp.take_along_axis(beams.tokens, parents[..., None], axis=1)
    texts = lax.dynamic_update_index_in_dim(
        texts, tokens.astype(jnp.int32), beams.length, axis=2
    )
    has_ended = is_end(tokens, ends.ids)
    # Greedy decoding ends where an end is the likeliest token, and nowhere else.
    counts = has_ended if k > 1 else has_ended.at[:, 1:].set(False)
    ended = _add_ended(beams, texts, jnp.where(counts, scores, NEVER), decode)
    scores, kept = lax.top_k(jnp.where(has_ended, NEVER, scores), k)
    parents = jnp.take_along_axis(parents, kept, axis=1)
    parents += jnp.arange(num_rows)[:, None] * k
    texts = jnp.take_along_axis(texts, kept[..., None], axis=1)
    cache = _pick(cache, parents.reshape(-1))
    return Beams(cache, texts, scores, *ended, beams.length + 1)


def _pick(cache: PyTree, rows: Int[Array, " R"]) -> PyTree:
    """Returns the cache of rows that go on from other rows."""
    if hasattr(cache, "of_rows"):
        return cache.of_rows(rows)
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0), cache)


def _add_ended(
    beams: Beams,
    texts: Int[Array, "B M L"],
    scores: Float[Array, "B M"],
    decode: DecodeConfig,
) -> tuple[Array, Array, Array]:
    """Returns the best ended text, its rank and its log-probability.

    Args:
        beams: The beams before the step; what is over stays as it is.
        texts: Texts of one length.
        scores: Their log-probabilities, `NEVER` where they have not ended.
        decode: Knows the length penalty.
    """
    best = scores.argmax(axis=1)[:, None]
    score = jnp.take_along_axis(scores, best, axis=1)[:, 0]
    text = jnp.take_along_axis(texts, best[..., None], axis=1)[:, 0]
    rank = score / _penalty(beams.length + 1, decode)
    wins = (rank > beams.rank) & ~_is_over(beams, decode) & (score > NEVER / 2)
    return (
        jnp.where(wins[:, None], text, beams.ended),
        jnp.where(wins, rank, beams.rank),
        jnp.where(wins, score, beams.log_p),
    )


def _penalty(length: Any, decode: DecodeConfig) -> Any:
    power = decode.length_penalty if decode.beam_size > 1 else 0.0
    return ((5.0 + length) / 6.0) ** power


def _is_over(beams: Beams, decode: DecodeConfig) -> Array:
    """Returns which rows cannot become better, ``[B]``.

    A log-probability only falls, and ranks highest where it is divided by most.
    """
    return beams.scores[:, 0] / _penalty(decode.max_new_tokens, decode) <= beams.rank


def _choose(beams: Beams, ends: Ends) -> tuple[Int[Array, "B L"], Float[Array, " B"]]:
    """Returns the best texts; those that have not ended count where none has."""
    none = beams.rank <= NEVER / 2
    tokens = jnp.where(none[:, None], beams.tokens[:, 0], beams.ended)
    log_p = jnp.where(none, beams.scores[:, 0], beams.log_p)
    return jnp.where(is_end(tokens, ends.ids), ends.pad, tokens), log_p
