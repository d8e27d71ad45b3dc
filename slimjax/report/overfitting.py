"""Training beside validation, before a model was slimmed and at its end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from slimjax.report.metrics import loss_words, validation_loss
from slimjax.report.quantities import format_count, format_decimal, number
from slimjax.report.read import Json, Run

BEFORE, END = "before the first cut", "at the end"

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


def find_gaps(run: Run) -> dict[str, Gap]:
    """Returns the gaps before the first cut and at the end, where they are known."""
    seams = [number(seam, "step") or 0.0 for seam in run.taken_seams]
    before = [row for row in run.metrics if seams and _step(row) <= seams[0]]
    after = [row for row in run.metrics if not seams or _step(row) > seams[-1]]
    found = {BEFORE: _gap_at(before), END: _gap_at(after)}
    return {name: gap for name, gap in found.items() if gap is not None}


def make_gap_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Returns a row for each place of a run, or for the ends of several runs."""
    unit, rows = loss_words(runs[0]), []
    heads = ["", "step", f"training, {unit}", f"validation, {unit}", "gap"]
    for run in runs:
        gaps = find_gaps(run)
        for name in (BEFORE, END) if len(runs) == 1 else (END,):
            if name in gaps:
                gap = gaps[name]
                losses = map(format_decimal, (gap.train, gap.valid, gap.size))
                label = name if len(runs) == 1 else run.name
                rows.append([label, format_count(gap.step), *losses])
    return heads, rows


def explain_gaps(runs: Sequence[Run]) -> str:
    """Returns how the gap of a run changed, in words, and what the losses are."""
    note = "The training loss has the dropout and the smoothing of labels of training."
    gaps = find_gaps(runs[0])
    if len(runs) > 1 or len(gaps) < 2:
        return note
    sizes = [gaps[place].size for place in (BEFORE, END)]
    before, end = map(format_decimal, sizes)
    word = "less" if sizes[1] < sizes[0] else "more"
    return (
        f"At its end the slim model overfits {word} than the whole one before the "
        f"first cut: the gap is {end}, and was {before}. More steps widen it too, so "
        f"compare with a run that is not slimmed. {note}"
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
