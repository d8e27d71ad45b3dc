"""How much faster a compressed model writes than its original, in the same format.

Both write the same number of tokens after one prompt, in turns, and the ratio of each
turn counts: what else the machine does then slows both.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from slimjax.compress.slimming import Material
from slimjax.errors import ConfigError
from slimjax.generate.decode import Writer, generate
from slimjax.models.cached import freeze_decoder
from slimjax.objective.inventory import Inventory
from slimjax.run.speed import PERCENTILES, time_in_turns

FORMATS = ("bfloat16", "int8")
"""Formats of the weights in which both are timed."""

NUM_READ, NUM_WRITTEN = 16, 32
"""Tokens of the prompt, and those that are written at a time."""

NO_END = -1
"""No token ends a text, so that both write equally many."""


def compare_decoding(
    original: Material, slim: Material, seconds: float = 4.0
) -> list[dict[str, Any]]:
    """Returns how many times as fast a model writes, by format, at one text at a time.

    Args:
        original: The original.
        slim: What was made of it.
        seconds: Time that the turns of a format take, about.

    Returns:
        For each format that both have: ``weights``, ``ratio`` with ``low`` and ``high``
        (median, 10th and 90th percentile of the turns), ``rounds``, and
        ``bytes_ratio``, how many times as many bytes a token of the original reads.
    """
    found = []
    for weights in FORMATS:
        try:
            steps = [_make_step(model, weights) for model in (original, slim)]
        except ConfigError:  # The model does not write, or not in this format.
            continue
        ratios = time_in_turns(*steps, seconds=seconds)
        low, high = np.percentile(ratios, PERCENTILES)
        sizes = [count_read(model.inventory) for model in (original, slim)]
        found.append(
            {
                "weights": weights,
                "ratio": float(np.median(ratios)),
                "low": float(low),
                "high": float(high),
                "rounds": len(ratios),
                "bytes_ratio": sizes[0] / sizes[1],
            }
        )
    return found


def count_read(inventory: Inventory) -> int:
    """Returns the elements of the matrices that each token is multiplied with."""
    return sum(math.prod(leaf.shape) for leaf in inventory.leaves if leaf.use.rate)


def _make_step(material: Material, weights: str) -> Callable[[], Any]:
    """Returns a function that writes some tokens, compiled."""
    writer: Writer = freeze_decoder(material.model, material.variables, weights)
    most = material.model.main.num_positions or NUM_READ + NUM_WRITTEN
    num_read = min(NUM_READ, most // 2)
    num_written = min(NUM_WRITTEN, most - num_read)
    prompt = np.arange(num_read, dtype=np.int32) % material.model.vocab_size
    options: dict[str, Any] = dict(max_new_tokens=num_written, chunk=num_written)

    def step() -> None:
        for _ in generate(writer, [prompt], eos_id=NO_END, **options):
            pass

    step()
    return step
