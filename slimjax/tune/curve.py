"""What rules know of a path: sizes, errors and bits of its points.

It is read from ``tune.json`` alone, and loads no jax, so that a rule answers at once.
"""

import dataclasses
import math
from typing import Any

from slimjax.tune.pooled import Errors

Json = dict[str, Any]

TEXT = "lm"
"""The task that learns plain text."""

FILLERS = ("mlm", "denoise")
"""Tasks that fill gaps of plain text, whose models neither write nor answer."""

RESULT, CHOSEN = "tune.json", "chosen"
"""The file of all points, and the folder of the model that was chosen."""

REFIT = "refit/trunk"
"""Folder of the path to the chosen size, which ends in `CHOSEN`."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """What rules know of the points of a path, the largest first.

    Attributes:
        sizes: In the measure that counts.
        start_size: Size of the model that the path starts from.
        errors: Nats per target on held-out documents.
        model_bits: Bits of each model file.
        text_targets: Targets of the training text: those of all documents outside test.
    """

    sizes: tuple[float, ...]
    start_size: float
    errors: Errors
    model_bits: tuple[float, ...]
    text_targets: float

    @property
    def fractions(self) -> tuple[float, ...]:
        """Sizes as parts of the start."""
        return tuple(size / self.start_size for size in self.sizes)

    @property
    def least(self) -> int:
        """The point of the least error; of equal ones the smallest."""
        order = lambda i: (self.errors.values[i], self.sizes[i])
        return min(range(len(self.sizes)), key=order)

    @property
    def text_bits(self) -> tuple[float, ...]:
        """Bits of the training text under each model, at its held-out error."""
        nats = (error * self.text_targets for error in self.errors.values)
        return tuple(each / math.log(2) for each in nats)


def read_curve(content: Json) -> Curve:
    """Returns what rules know, from the content of ``tune.json``."""
    points, held_out = content["points"], content["held_out"]
    errors = Errors(
        values=tuple(point["error"] for point in points),
        by_documents=content["by_documents"],
        by_folds=content["by_folds"],
        num_documents=sum(held_out["documents"]),
        num_folds=len(held_out["documents"]),
    )
    return Curve(
        sizes=tuple(point["size"] for point in points),
        start_size=content["start_size"],
        errors=errors,
        model_bits=tuple(8 * point["file_bytes"] for point in points),
        text_targets=content["text_targets"],
    )
