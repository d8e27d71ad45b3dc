"""Generating text: a prefill, then one compiled loop of steps over a fixed cache."""

from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import PyTree

from slimjax.generate.sampling import Sampling, sample
from slimjax.models.config import ModelConfig
from slimjax.models.decoder import Decoder, make_cache

CHUNK = 16
"""Tokens that the loop makes on the device before the host looks at them."""


@struct.dataclass
class DecodeState:
    """What a row needs to go on."""

    cache: PyTree
    token: PyTree  # int32 [B]; the newest, not yet in the cache.
    position: PyTree  # int32 [B]; where it stands.
    done: PyTree  # bool [B]; whether the end of the text was reached.


def generate(
    config: ModelConfig,
    params: PyTree,
    prompts: Sequence[np.ndarray],
    *,
    max_new_tokens: int,
    eos_id: int,
    sampling: Sampling = Sampling(),  # noqa: B008
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Yields the next tokens of all prompts, ``[B, C]`` at a time.

    Rows are independent: a prompt gives the same tokens in any company, greedily.
    After its end of text a row yields `eos_id` only; all ends end the iteration.

    Args:
        config: The model's shape.
        params: Its variables, ``{"params": ..., "gates": ...}``.
        prompts: One array of token ids for each row, one id or more.
        max_new_tokens: Most tokens to add to each.
        eos_id: The token that ends a text.
        sampling: How tokens are chosen.
        seed: Root of the randomness; step i of row b uses its own key.
    """
    if max_new_tokens < 1:
        return
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    padded = np.zeros((len(prompts), round_up(int(lengths.max()))), np.int32)
    for row, prompt in zip(padded, prompts, strict=True):
        row[: len(prompt)] = prompt
    chunk = min(CHUNK, max_new_tokens)
    length = padded.shape[1] + round_up(max_new_tokens)
    key = jax.random.key(seed)
    state = _prefill(config, length, sampling, eos_id, params, padded, lengths, key)
    made = np.asarray(state.token)[:, None]
    yield made
    num_made = 1
    while num_made < max_new_tokens and not bool(np.asarray(state.done).all()):
        steps = partial(_decode_chunk, config, chunk, sampling, eos_id)
        state, tokens = steps(params, state, jax.random.fold_in(key, num_made))
        tokens = np.asarray(tokens)[:, : max_new_tokens - num_made]
        num_made += tokens.shape[1]
        yield tokens


def round_up(length: int) -> int:
    """Returns the next size for which a function is compiled: 16, 32, 64, ...

    Examples:
        >>> round_up(3), round_up(16), round_up(100)
        (16, 16, 128)
    """
    return max(16, 1 << (length - 1).bit_length())


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _prefill(
    config: ModelConfig,
    length: int,
    sampling: Sampling,
    eos_id: int,
    params: PyTree,
    prompts: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
) -> DecodeState:
    """Reads all prompts at once and chooses the first new token of each.

    What stands behind a shorter prompt is overwritten before it can be seen: a query
    sees no later position than its own.
    """
    batch_size, width = prompts.shape
    cache = make_cache(config, batch_size, length)
    positions = jnp.broadcast_to(jnp.arange(width), prompts.shape)
    decode = partial(Decoder(config).apply, method="decode")
    logits, cache = decode(params, prompts, positions, cache)
    last = jnp.take_along_axis(logits, (lengths - 1)[:, None, None], axis=1)[:, 0]
    token = sample(last, jax.random.fold_in(key, 0), sampling)
    return DecodeState(cache, token, lengths, token == eos_id)


@partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def _decode_chunk(
    config: ModelConfig,
    num_steps: int,
    sampling: Sampling,
    eos_id: int,
    params: PyTree,
    state: DecodeState,
    key: jax.Array,
) -> tuple[DecodeState, jax.Array]:
    """Makes `num_steps` tokens a row on the device, one after the other."""
    decode = partial(Decoder(config).apply, method="decode")

    def step(state: DecodeState, step_key: jax.Array):
        token, position = state.token[:, None], state.position[:, None]
        logits, cache = decode(params, token, position, state.cache)
        token = sample(logits[:, 0], step_key, sampling)
        token = jnp.where(state.done, eos_id, token)
        done = state.done | (token == eos_id)
        return DecodeState(cache, token, state.position + 1, done), token

    state, tokens = jax.lax.scan(step, state, jax.random.split(key, num_steps))
    return state, tokens.T


def generate_all(
    config: ModelConfig, params: PyTree, prompts: Sequence[np.ndarray], **options
) -> list[np.ndarray]:
    """Returns the new tokens of each prompt, cut before the end of the text."""
    pieces = list(generate(config, params, prompts, **options))
    rows = np.concatenate(pieces, axis=1) if pieces else [[] for _ in prompts]
    return [_cut_at(np.asarray(row), options["eos_id"]) for row in rows]


def _cut_at(row: np.ndarray, eos_id: int) -> np.ndarray:
    ends = np.flatnonzero(row == eos_id)
    return row[: ends[0]] if len(ends) else row
