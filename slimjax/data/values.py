"""How values that are to be predicted become numbers of one size; ``values.json``."""

import dataclasses
import json
import os
from typing import Any

import numpy as np
from jaxtyping import Float64

from slimjax.data.cache import hash_json
from slimjax.data.stored import load_stored
from slimjax.errors import DataError

VALUE = "value"
"""Name of the field, of the codec, and of what a file calls it."""

VALUES_FILE = "values.json"


@dataclasses.dataclass(frozen=True)
class ValueScale:
    """Mean and standard deviation of the values of the train split.

    Attributes:
        mean: What stands for 0.
        deviation: What stands for 1; above 0.
    """

    mean: float
    deviation: float

    @property
    def fingerprint(self) -> str:
        """Equal for equal scales."""
        return hash_json(dataclasses.astuple(self))

    def encode(self, value: float) -> float:
        """Returns how many deviations a value is from the mean."""
        return (value - self.mean) / self.deviation

    def decode(self, number: float | np.ndarray) -> float | np.ndarray:
        """Returns the value of such a number.

        Examples:
            >>> ValueScale(3.0, 2.0).decode(-0.5)
            2.0
        """
        return number * self.deviation + self.mean

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``values.json`` into `folder`, which exists."""
        with open(os.path.join(folder, VALUES_FILE), "w", encoding="utf-8") as file:
            json.dump({"version": 1, **dataclasses.asdict(self)}, file, indent=1)


def measure_values(values: Float64[np.ndarray, " N"], name: str = VALUE) -> ValueScale:
    """Returns the scale of the values of a train split.

    Raises:
        DataError: If they are all the same, or too far apart for a variance.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(values.mean()), float(values.std())
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(
            f"All {len(values):,} examples of the train split have the {name} {low:g}; "
            "two different ones are the least. Check config.data.fields."
        )
    if not (np.isfinite(deviation) and deviation > 0):
        raise DataError(
            f"The {name} of the train split goes from {low:g} to {high:g}, which is "
            "too far for a variance. Scale it in the files."
        )
    return ValueScale(mean, deviation)


def load_values(folder: str | os.PathLike[str]) -> ValueScale:
    """Loads what `ValueScale.save` wrote into `folder`.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """
    names = [field.name for field in dataclasses.fields(ValueScale)]

    def make(content: Any) -> ValueScale:
        scale = ValueScale(*(float(content[name]) for name in names))
        if not scale.deviation > 0:
            raise ValueError("the deviation is not above 0")
        return scale

    return load_stored(folder, VALUES_FILE, make)
