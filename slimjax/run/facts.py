"""What is known of a training step, as short texts, the most important first."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from slimjax.report.quantities import (
    divide,
    format_duration,
    format_percent,
    format_si,
    number,
)

UNITS = {
    "params": "",
    "flops": "FLOP per token",
    "bytes": "B",
    "kv_bytes": "B of KV cache per token",
}
LOSSES = ("nats_per_token", "nats_per_target")  # Shown as the loss and perplexity.
LATENCY = "latency"  # Seconds, for one token.
MOST_METRICS = 2  # Of the task's own; the log has all of them.
MOST_PERPLEXITY = 1e6  # A larger one is not worth a place.


@runtime_checkable
class NamedMetric(Protocol):
    """A metric of the task: its key in logs and its name for readers."""

    @property
    def key(self) -> str:
        """Its name in logs, after ``valid_``."""
        ...

    @property
    def words(self) -> str:
        """Its name for readers."""
        ...


def describe_step(
    entry: Mapping[str, Any],
    sizes: Sequence[str] = (),
    metrics: Sequence[NamedMetric] = (),
) -> list[str]:
    """Returns the facts of a logged step.

    Args:
        entry: The line of the log.
        sizes: Sizes of the model, each from `describe_size`.
        metrics: Metrics of the task, the headline first. By default bits per byte.

    Returns:
        Loss, headline metric of the validation split, size, the metric after it, speed;
        what is not known is left out.

    Examples:
        >>> entry = {"loss": 2.5, "valid_nats_per_token": 3.0, "tokens_per_s": 5300.0}
        >>> describe_step(entry | {"valid_bits_per_byte": 1.4}, ["12.3 kB (41 %)"])
        ['loss 2.500', 'valid 1.400 bits per byte', '12.3 kB (41 %)', \
'perplexity 20.1', '5,300 tokens/s']
    """
    loss, speed = number(entry, "loss"), number(entry, "tokens_per_s")
    facts = ["loss not finite" if loss is None else f"loss {loss:.3f}"]
    named = [(m.key, m.words) for m in metrics if m.key not in LOSSES]
    named = named or [("bits_per_byte", "bits per byte")]
    known = [(words, number(entry, f"valid_{key}")) for key, words in named]
    shown = [_describe(words, value) for words, value in known if value is not None]
    facts += [*shown[:1], *sizes, *shown[1:MOST_METRICS]]
    perplexity = _perplexity(entry)
    if perplexity and not any(key == "perplexity" for key, _ in named):
        facts.append(f"perplexity {perplexity:,.3g}")
    return [*facts, f"{speed:,.0f} tokens/s"] if speed else facts


def describe_size(measure: str, size: float, start: float) -> str:
    """Returns a size in its own unit, and as a part of the start.

    Args:
        measure: A name of the config, such as ``bytes``, or a weighted sum of them.
        size: The size now.
        start: The size of the model that the run started from.

    Examples:
        >>> describe_size("bytes", 12_300, 30_000)
        '12.3 kB (41 %)'
        >>> describe_size("0.5*params + 0.5*flops", 0.6, 1.0)
        '60 % of the size'
    """
    percent = format_percent(divide(size, start))
    if measure == LATENCY:
        return f"{format_duration(size)} per token ({percent})"
    if measure not in UNITS:
        return f"{percent} of the size"
    if measure == "params":
        return f"{format_si(size)} parameters ({percent})"
    return f"{format_si(size, UNITS[measure])} ({percent})"


def _describe(words: str, value: float) -> str:
    if " per " in words:
        return f"valid {value:.3f} {words}"
    return f"valid {words} {value:.3f}"


def _perplexity(entry: Mapping[str, Any]) -> float | None:
    """Returns the perplexity per token, of language models."""
    nats = number(entry, "valid_nats_per_token")
    if nats is None or nats > math.log(MOST_PERPLEXITY):
        return None
    return math.exp(nats)
