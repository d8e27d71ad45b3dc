"""Generating text: a prefill, then a compiled loop of steps over a fixed cache."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Int32, PyTree

from slimjax.errors import ConfigError
from slimjax.generate.sampling import Sampling, sample
from slimjax.memory import check_fits, device_bytes
from slimjax.models.cached import FrozenDecoder
from slimjax.models.decoding import DecodingModel
from slimjax.nn.axes import on_mesh_of, to_host

Writer = FrozenDecoder | DecodingModel
"""A model with a cache, as `slimjax.models.cached.freeze_decoder` prepares it."""

Source = Mapping[str, np.ndarray] | None
"""What other towers than the main one read, ``[B S]``; None where there is none."""

CHUNK = 16
"""Tokens of a stream that are made on the device before the host looks at them."""


@struct.dataclass
class DecodeState:
    """What the rows need to continue."""

    cache: PyTree
    token: PyTree  # int32 [B]; the newest, not yet in the cache.
    position: PyTree  # int32 [B]; where it stands.
    done: PyTree  # bool [B]; whether the end of the text was reached.
    num_made: PyTree  # int32 []; tokens made for each row.


def generate(
    model: Writer,
    prompts: Sequence[np.ndarray],
    *,
    max_new_tokens: int,
    eos_id: int,
    more_ends: tuple[int, ...] = (),
    source: Source = None,
    sampling: Sampling = Sampling(),  # noqa: B008
    seed: int = 0,
    chunk: int = CHUNK,
) -> Iterator[np.ndarray]:
    """Yields the next tokens of all prompts, ``[B, C]`` at a time.

    Rows are independent: a prompt gives the same tokens in any company, greedily. Where
    the model lies on devices of several processes, all of them call this alike.
    After its end of text a row yields `eos_id` only; all ends end the iteration.

    Args:
        model: The model, as `slimjax.models.cached.freeze_decoder` prepares it.
        prompts: One array of token ids for each row, one id or more.
        max_new_tokens: Most tokens to add to each.
        eos_id: The token that ends a text.
        more_ends: Other tokens that end one.
        source: What other towers read, one row for each prompt.
        sampling: How tokens are chosen.
        seed: Root of the randomness; token i of all rows has its own key.
        chunk: Most tokens to yield at a time; no token depends on it.
    """
    if max_new_tokens < 1:
        return
    padded, lengths = pad_prompts(prompts)
    length = padded.shape[1] + round_up(max_new_tokens)
    needed = int(lengths.max()) + max_new_tokens - 1
    check_room(model, padded.shape, length, needed, source)
    key, how = jax.random.key(seed), (sampling, (eos_id, *more_ends))
    with on_mesh_of(model):
        state = _prefill(model, length, *how, padded, lengths, key, source)
    yield to_host(state.token)[:, None]
    num_made = 1
    while num_made < max_new_tokens and not to_host(state.done).all():
        end = min(num_made + chunk, max_new_tokens)
        with on_mesh_of(model):
            state, tokens = _continue(model, chunk, *how, state, end, key)
        yield to_host(tokens)[:, : end - num_made]
        num_made = end


def check_room(
    model: Writer, shape: tuple[int, int], length: int, needed: int, source: Source
) -> None:
    """Refuses rows that are too long, or do not fit the memory that is free.

    Args:
        model: The model.
        shape: Texts that are written at once, and the longest of their prompts.
        length: Positions in the cache of each text.
        needed: Positions that are read, those of the prompt included.
        source: What other towers read.

    Raises:
        ConfigError: If they do not.
    """
    num_rows, most = shape[0], getattr(model, "most_positions", 0)
    make = lambda read: start_cache(model, num_rows, length, read)
    cache = jax.eval_shape(make, source)
    if most and needed > most:
        raise ConfigError(
            f"A text of {needed:,} tokens is longer than the {most:,} positions that "
            "this model knows. Take a smaller --max_new_tokens or a shorter prompt."
        )
    num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache))
    num_bytes += 8 * num_rows * shape[1] * model.config.width
    check_fits(
        num_bytes,
        device_bytes(jax.local_devices()),
        f"a cache of {length:,} tokens for each of {num_rows:,} texts",
        "Take a smaller --max_new_tokens, a shorter prompt, or fewer texts at a time.",
    )


def start_cache(model: Writer, num_rows: int, length: int, source: Any) -> Any:
    """Returns the cache of rows that have read their source, and nothing else yet."""
    if source is None:
        return model.make_cache(num_rows, length)
    assert isinstance(model, DecodingModel)
    return model.remember(source, length)


def read_beginnings(
    model: Writer, rows: jax.Array, lengths: jax.Array, room: int, source: Any
) -> Any:
    """Returns the cache of rows that have read all but the newest token of each prompt.

    Args:
        model: The model.
        rows: The prompts, padding behind them, ``[B P]``.
        lengths: Tokens of each.
        room: Most new tokens.
        source: What other towers read.
    """
    cache = start_cache(model, len(rows), rows.shape[1] + room, source)
    if rows.shape[1] == 1:
        return cache
    return model(rows, mark_padding(model, rows.shape, lengths - 1), cache)[1]


def pad_prompts(
    prompts: Sequence[np.ndarray],
) -> tuple[Int32[np.ndarray, "B P"], Int32[np.ndarray, " B"]]:
    """Returns prompts as rows with padding behind them, and their lengths."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    longest = int(lengths.max())
    padded = np.zeros((len(prompts), round_up(longest)), np.int32)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = prompt
    return padded, lengths


def fit_prompts(
    model: Writer,
    prompts: Sequence[np.ndarray],
    room: int,
    source: Source,
    *,
    copies: int = 1,
) -> tuple[Int32[np.ndarray, "B P"], Int32[np.ndarray, " B"]]:
    """Returns prompts as `pad_prompts` does, if whole texts fit; those of 1 unpadded.

    Args:
        model: The model.
        prompts: Ids of each prompt, one or more.
        room: Tokens that are written after each.
        source: What other towers read.
        copies: Texts that are written after each at once.

    Raises:
        ConfigError: See `check_room`.
    """
    rows, lengths = pad_prompts(prompts)
    longest = int(lengths.max())
    rows = rows if longest > 1 else rows[:, :1]
    shape = len(rows) * copies, rows.shape[1]
    check_room(model, shape, rows.shape[1] + room, longest + room - 1, source)
    return rows, lengths


def mark_padding(
    model: Writer, shape: tuple[int, ...], lengths: jax.Array
) -> Int32[jax.Array, "B P"]:
    """Returns the positions of rows, below 0 behind their ends.

    Where all that is read stands at a position of its own, which is overwritten, the
    padding needs no mark.
    """
    positions = jnp.broadcast_to(jnp.arange(shape[1]), shape)
    if not isinstance(model, DecodingModel):
        return positions
    return jnp.where(positions < lengths[:, None], positions, -1)


def round_up(length: int) -> int:
    """Returns the next size for which a function is compiled: 16, 32, 64, ...

    Examples:
        >>> round_up(3), round_up(16), round_up(100)
        (16, 16, 128)
    """
    return max(16, 1 << (length - 1).bit_length())


@partial(jax.jit, static_argnums=(1, 2, 3))
def _prefill(
    model: Writer,
    length: int,
    sampling: Sampling,
    ends: tuple[int, ...],
    prompts: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
    source: Any,
) -> DecodeState:
    """Reads all prompts at once and chooses the first new token of each.

    What stands behind a shorter prompt is overwritten before it can be seen: a query
    sees no later position than its own. States that carry on must not read it at all.
    """
    positions = mark_padding(model, prompts.shape, lengths)
    start = start_cache(model, len(prompts), length, source)
    x, cache = model(prompts, positions, start)
    last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
    token = sample(model.logits(last, cache), jax.random.fold_in(key, 0), sampling)
    return DecodeState(cache, token, lengths, is_end(token, ends), jnp.int32(1))


@partial(jax.jit, static_argnums=(1, 2, 3), donate_argnums=4)
def _continue(
    model: Writer,
    chunk: int,
    sampling: Sampling,
    ends: tuple[int, ...],
    state: DecodeState,
    end: jax.Array,
    key: jax.Array,
) -> tuple[DecodeState, jax.Array]:
    """Makes tokens ``[B, chunk]`` on the device until there are `end`, or all end."""
    first = state.num_made
    tokens = jnp.full((len(state.token), chunk), ends[0], jnp.int32)

    def goes_on(carry: tuple[DecodeState, jax.Array]) -> jax.Array:
        state, _ = carry
        return (state.num_made < end) & ~state.done.all()

    def step(carry: tuple[DecodeState, jax.Array]) -> tuple[DecodeState, jax.Array]:
        state, tokens = carry
        x, cache = model(state.token[:, None], state.position[:, None], state.cache)
        step_key = jax.random.fold_in(key, state.num_made)
        token = sample(model.logits(x[:, 0], cache), step_key, sampling)
        token = jnp.where(state.done, ends[0], token)
        tokens = lax.dynamic_update_slice(
            tokens, token[:, None], (0, state.num_made - first)
        )
        done = state.done | is_end(token, ends)
        num_made = state.num_made + 1
        return DecodeState(cache, token, state.position + 1, done, num_made), tokens

    return lax.while_loop(goes_on, step, (state, tokens))


def generate_all(
    model: Writer,
    prompts: Sequence[np.ndarray],
    *,
    max_new_tokens: int,
    eos_id: int,
    more_ends: tuple[int, ...] = (),
    **options: Any,
) -> list[np.ndarray]:
    """Returns the new tokens of each prompt, cut before the end of the text.

    Takes what `generate` takes; all tokens are made in one loop on the device.
    """
    options |= dict(max_new_tokens=max_new_tokens, eos_id=eos_id)
    options |= dict(more_ends=more_ends, chunk=round_up(max_new_tokens))
    pieces = list(generate(model, prompts, **options))
    rows = np.concatenate(pieces, axis=1) if pieces else [[] for _ in prompts]
    return [_cut_at(np.asarray(row), (eos_id, *more_ends)) for row in rows]


def is_end(tokens: jax.Array, ends: tuple[int, ...]) -> jax.Array:
    """Returns which tokens end a text."""
    return jnp.isin(tokens, jnp.array(ends))


def _cut_at(row: np.ndarray, ends: tuple[int, ...]) -> np.ndarray:
    places = np.flatnonzero(np.isin(row, ends))
    return row[: places[0]] if len(places) else row
