"""What was measured on a device: the table that latency is read from.

Its numbers stand at knots: widths of the residual stream, KV heads and query heads for
each of them, hidden units, weights. Between knots lie straight lines, and the outer
ones go on. Knots may be 0: what stands there is what a sublayer takes however small it
is.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimjax.errors import ConfigError

FORMAT = "slimjax-latency-2"

KNOTS = {
    "base": ("widths",),
    "attention": ("widths", "kv_heads", "group"),
    "mlp": ("widths", "units"),
    "spill": ("weights",),
}
"""The knots along each axis of each field of times."""


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """What was measured, seconds a token.

    Attributes:
        vocab_size: Vocabulary of the model that it is of.
        head_dim: Width of its heads.
        widths: Widths of the residual stream, rising; the last one is the model's.
        kv_heads: Numbers of KV heads, rising.
        group: Numbers of query heads for each of them, rising.
        units: Numbers of hidden units, rising.
        base: Of embedding, last norm and scores, and of what no layer can help,
            ``[widths]``.
        attention: Of one attention, ``[widths][kv_heads][group]``.
        mlp: Of one MLP, ``[widths][units]``.
        weights: Numbers of weights of a whole model, rising, or none.
        spill: What is added for weights that no longer fit near the processor,
            ``[weights]``.
        error: Root of the mean square of what the table is off for the models that it
            was made from, as a part of what they take.
        device: What it was measured on.
    """

    vocab_size: int
    head_dim: int
    widths: tuple[int, ...]
    kv_heads: tuple[int, ...]
    group: tuple[int, ...]
    units: tuple[int, ...]
    base: tuple[float, ...]
    attention: tuple[tuple[tuple[float, ...], ...], ...]
    mlp: tuple[tuple[float, ...], ...]
    weights: tuple[int, ...] = ()
    spill: tuple[float, ...] = ()
    error: float = 0.0
    device: str = ""

    @classmethod
    def from_json(cls, data: Any, where: str) -> "LatencyTable":
        """Returns the table that was written as JSON.

        Raises:
            ConfigError: If the data, found at `where`, are no table.
        """
        found = data.get("format") if isinstance(data, Mapping) else None
        if found != FORMAT:
            raise ConfigError(
                f"{where} is no table of latencies: its format is {found!r}, not "
                f"{FORMAT!r}. Measure again, in a run without "
                "config.objective.latency_table."
            )
        try:
            fields = {f.name: _tuples(data[f.name]) for f in dataclasses.fields(cls)}
            table = cls(**fields)
            table.check()
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where} is no table of latencies: {error}.") from error
        return table

    def check(self) -> None:
        """Raises ValueError if knots or times cannot be meant."""
        for name in dict.fromkeys(name for names in KNOTS.values() for name in names):
            knots = getattr(self, name)
            if (not knots and name != "weights") or min(knots, default=0) < 0:
                raise ValueError(f"{name} {list(knots)} must be one number or more")
            if (np.diff(knots) <= 0).any():
                raise ValueError(f"{name} {list(knots)} do not rise")
        for name, axes in KNOTS.items():
            times = np.array(getattr(self, name), float)
            if times.shape != tuple(len(getattr(self, axis)) for axis in axes):
                raise ValueError(f"{name} has not one time for each of {axes}")
            if not np.isfinite(times).all() or (times < 0).any():
                raise ValueError(f"times of {name} must be 0 or more")
            if any((np.diff(times, axis=i) < 0).any() for i in range(times.ndim)):
                raise ValueError(f"times of {name} fall where there is more to do")
        if not self.base[-1] > 0:
            raise ValueError("the time of the base must be above 0")

    def as_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @property
    def fingerprint(self) -> str:
        """A name for its numbers, 16 hex digits."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


UNKNOWN = LatencyTable(
    0, 0, (1,), (1,), (1,), (1,), base=(1.0,), attention=(((0.0,),),), mlp=((0.0,),)
)
"""Stands for what was not measured, where latency does not count."""
