"""Training beside validation, before a model was slimmed and at its end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from slimjax.report.metrics import loss_words, validation_loss
from slimjax.report.quantities import format_count, format_decimal, number
from slimjax.report.read import Json, Run

WINDOW = 0.1
"""Part of the steps before a place whose training losses are averaged."""


class Gap(NamedTuple):
    """The losses at a place of a run.

    Attributes:
        step: Where the validation loss was measured.
        train: Mean loss of the training steps before it.
        valid: Loss of the validation split.
    """

    step: float
    train: float
    valid: float

    @property
    def size(self) -> float:
        """How much worse the model is on data that it has not seen."""
        return self.valid - self.train


def find_gaps(run: Run) -> tuple[Gap, Gap] | None:
    """Returns the gaps before the first cut and at the end, if both are known."""
    seams = [number(seam, "step") or 0.0 for seam in run.taken_seams]
    if not seams:
        return None
    before = _gap_at([row for row in run.metrics if _step(row) <= seams[0]])
    after = _gap_at([row for row in run.metrics if _step(row) > seams[-1]])
    return None if before is None or after is None else (before, after)


def make_gap_table(run: Run) -> tuple[list[str], list[list[str]]] | None:
    """Returns a row for each place, or None where no seam was taken."""
    gaps = find_gaps(run)
    if gaps is None:
        return None
    unit = loss_words(run)
    heads = ["", "step", f"training, {unit}", f"validation, {unit}", "gap"]
    names = ("before the first cut", "at the end")
    rows = [
        [name, format_count(gap.step), *map(format_decimal, (*gap[1:], gap.size))]
        for name, gap in zip(names, gaps, strict=True)
    ]
    return heads, rows


def explain_gaps(run: Run) -> str:
    """Returns whether the slim model overfits less, in one sentence."""
    gaps = find_gaps(run)
    if gaps is None:
        return ""
    before, after = (format_decimal(gap.size) for gap in gaps)
    grown = gaps[1].size - gaps[0].size
    word = "less" if grown < 0 else "more" if grown > 0 else "as much"
    note = "The training loss has the dropout and the smoothing of labels of training."
    return (
        f"The slim model overfits {word}: the gap went from {before} to {after}. {note}"
    )


def _gap_at(rows: Sequence[Json]) -> Gap | None:
    measured = [row for row in rows if validation_loss(row) is not None]
    if not measured:
        return None
    end = _step(measured[-1])
    start = end - WINDOW * (end - _step(rows[0]))
    near = [number(row, "loss") for row in rows if start <= _step(row) <= end]
    losses = [loss for loss in near if loss is not None]
    valid = validation_loss(measured[-1])
    if not losses or valid is None:
        return None
    return Gap(end, float(np.mean(losses)), valid)


def _step(row: Json) -> float:
    return number(row, "step") or 0.0
