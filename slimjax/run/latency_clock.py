"""How long models take to make a token, by the clock."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from slimjax.errors import ConfigError
from slimjax.models.cached import FrozenDecoder, can_cache, freeze_decoder
from slimjax.models.config import ModelConfig

LENGTH, FIRST, NUM_TOKENS = 64, 24, 16
"""Positions of the cache; the first of those where tokens are made; their number."""

TRIES = 3
"""Of a turn; the call before them brings a model's weights back."""

ROUNDS = 40


def time_models(
    models: Sequence[ModelConfig], rounds: int = ROUNDS, seconds: float = 20.0
) -> list[float]:
    """Returns the seconds a token that each model takes: the least of many tries.

    All models take turns, so that a busy moment slows all of them, and a try is short,
    so that some find the machine free.

    Args:
        models: Their shapes; weights are random.
        rounds: Turns of each, at most.
        seconds: Time after which no further round begins.
    """
    runs = [_make_run(model) for model in models]
    for run in runs:
        run()  # Compiles.
    least, start = np.full(len(runs), np.inf), time.perf_counter()
    for i in range(rounds):
        if i and time.perf_counter() - start > seconds:
            break
        for j, run in enumerate(runs):
            run()
            least[j] = min(least[j], *(_time(run) for _ in range(TRIES)))
    return (least / NUM_TOKENS).tolist()


def check_kind(model: ModelConfig) -> None:
    """Refuses models of kinds whose time was never fitted.

    Raises:
        ConfigError: Naming the kind that is timed.
    """
    if not can_cache(model):
        raise ConfigError(
            "config.objective.size='latency' is for decoders of config.model.style="
            "'llama' without a window; this model is of another kind. Take 'flops'."
        )


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _make_run(model: ModelConfig) -> Callable[[], Any]:
    """Returns a function that makes some tokens with random weights, and waits.

    Raises:
        ConfigError: If the model is of a kind whose time was never fitted.
    """
    check_kind(model)
    freeze = partial(freeze_decoder, model)
    source = np.random.default_rng(0)
    some = (0.02 * source.standard_normal(4099)).astype(np.float32)  # A prime number.
    fill = lambda leaf: jnp.asarray(np.resize(some, leaf.shape), leaf.dtype)
    frozen = jax.tree.map(
        fill, jax.eval_shape(freeze, nn.meta.unbox(model.abstract_variables()))
    )
    return lambda: jax.block_until_ready(_make_tokens(frozen))


@jax.jit
def _make_tokens(model: FrozenDecoder) -> jax.Array:
    """Returns the last of the tokens that follow each other, the likeliest first."""

    def step(i: Any, carry: tuple) -> tuple:
        token, cache = carry
        x, cache = model(token[:, None], jnp.full((1, 1), i), cache)
        return jnp.argmax(model.logits(x[:, 0]), axis=-1).astype(jnp.int32), cache

    start = jnp.zeros(1, jnp.int32), model.make_cache(1, LENGTH)
    return jax.lax.fori_loop(FIRST, FIRST + NUM_TOKENS, step, start)[0]
