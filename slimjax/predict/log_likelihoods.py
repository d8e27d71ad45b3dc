"""How likely a language model holds texts, of any length, in batches of few shapes."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from slimjax.generate.decode import round_up
from slimjax.generate.model import Model
from slimjax.models.config import ModelConfig

BATCH_TOKENS = 1024
"""Positions that are scored at a time: logits are as wide as the vocabulary."""


class Span(NamedTuple):
    """Tokens of which the last ones are scored.

    Attributes:
        tokens: What is read, and what is scored; the first one is only read.
        num_scored: How many of the last tokens are scored.
    """

    tokens: np.ndarray
    num_scored: int


class Likelihood(NamedTuple):
    """How likely a model holds the scored tokens of a span.

    Attributes:
        log: Sum of their ``log p``, in nats.
        is_greedy: Whether each of them is the most likely one.
    """

    log: float
    is_greedy: bool


def cut_spans(tokens: np.ndarray, num_scored: int, longest: int) -> list[Span]:
    """Returns spans that a model can read, in which each scored token comes once.

    Each span has as many scored tokens as fit; those of later spans are read after as
    many tokens as fit before them.

    Args:
        tokens: At least one token that is only read, then those that are scored.
        num_scored: How many of the last tokens are scored.
        longest: Most tokens that a model reads in a row.

    Examples:
        >>> [(s.tokens.tolist(), s.num_scored) for s in cut_spans(np.arange(6), 5, 3)]
        [([0, 1, 2, 3], 3), ([2, 3, 4, 5], 2)]
    """
    spans, end = [], len(tokens) - num_scored
    while end < len(tokens):
        scored = min(longest, len(tokens) - end)
        end += scored
        spans.append(Span(tokens[max(end - longest - 1, 0) : end], scored))
    return spans


def score_spans(model: Model, spans: Sequence[Span]) -> list[Likelihood]:
    """Returns how likely a language model holds the scored tokens of spans.

    Args:
        model: The model.
        spans: Those that `cut_spans` returns, in any order.
    """
    found: list[Likelihood] = [Likelihood(0.0, is_greedy=True)] * len(spans)
    most = model.config.main.num_positions
    lengths = [_num_positions(len(span.tokens) - 1, most) for span in spans]
    for length in sorted(set(lengths)):
        own = [i for i, other in enumerate(lengths) if other == length]
        size = max(1, BATCH_TOKENS // length)
        for start in range(0, len(own), size):
            numbers = own[start : start + size]
            scores = _score_batch(model, [spans[i] for i in numbers], size, length)
            for i, likelihood in zip(numbers, scores, strict=True):
                found[i] = likelihood
    return found


def _num_positions(length: int, most: int) -> int:
    """Returns the positions of a row; at most those that a model has, if it counts."""
    rounded = round_up(length)
    return min(rounded, most) if most else rounded


def _score_batch(
    model: Model, spans: Sequence[Span], size: int, length: int
) -> list[Likelihood]:
    """Returns the likelihoods of spans, whose rows are filled up at their ends."""
    read = np.full((size, length), model.tokenizer.pad_id, np.int32)
    targets, is_scored = np.zeros_like(read), np.zeros(read.shape, bool)
    for row, (tokens, num_scored) in enumerate(spans):
        end = len(tokens) - 1
        read[row, :end], targets[row, :end] = tokens[:-1], tokens[1:]
        is_scored[row, end - num_scored : end] = True
    score = _score_fn(model.config)
    logs, best = score(model.params, jnp.asarray(read), jnp.asarray(targets))
    logs = np.where(is_scored, np.asarray(logs, np.float64), 0.0).sum(1)
    is_greedy = np.all(np.asarray(best) | ~is_scored, axis=1).tolist()
    pairs = zip(logs.tolist(), is_greedy, strict=True)
    return [Likelihood(*pair) for pair in pairs][: len(spans)]


@functools.lru_cache(maxsize=4)
def _score_fn(config: ModelConfig) -> Callable[..., tuple[Array, Array]]:
    """Returns the compiled function (params, read, targets) -> (log p, is best)."""
    network, head = config.module(), config.heads[0].name

    @jax.jit
    def score(params: PyTree, read: Array, targets: Array) -> tuple[Array, Array]:
        logits = network.apply(params, {"tokens": read})[head].logits()
        scores = jax.nn.log_softmax(logits)
        logs = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0]
        return logs, jnp.argmax(logits, -1) == targets

    return score
