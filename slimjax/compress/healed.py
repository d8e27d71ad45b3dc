"""A cut model that is healed, and rounded only then; and what healing takes."""

import dataclasses
from typing import Any

from slimjax.compress.config import HealConfig
from slimjax.compress.healing import USUAL, count_rows, heal
from slimjax.compress.moments import Moments
from slimjax.compress.rows import Rows
from slimjax.compress.slimming import (
    Cut,
    Material,
    Report,
    Slim,
    rounds,
    slim_down,
)
from slimjax.distill.teacher import flops_per_target
from slimjax.objective.quantize import QuantizeConfig


def heal_and_round(
    whole: Material,
    slim: Slim,
    moments: Moments,
    rows: Rows,
    quantize: QuantizeConfig,
    *,
    num_steps: int,
    healing: HealConfig = USUAL,
    seed: int = 0,
    refit_rows: Rows | None = None,
    report: Report = lambda *_: None,
) -> tuple[Slim, dict[str, Any]]:
    """Returns a cut model after healing, rounded if it is to be, and what that took.

    Args:
        whole: The original, which it learns from.
        slim: The cut model, not rounded yet; its choice has the bits.
        moments: Those of the original: the token table is rounded by what heads read.
        rows: Text.
        quantize: Knows whether weights are rounded, and which of them share a step.
        num_steps: Steps of healing.
        healing: Their learning rate and warm-up.
        seed: Of the order of rows.
        refit_rows: Text on which it is rounded; None for all rows.
        report: Called while it goes on.
    """
    variables, losses = heal(
        *(whole.model, whole.variables, slim.model, slim.variables, rows),
        num_steps=num_steps,
        healing=healing,
        seed=seed,
        report=report,
    )
    took = {
        "steps": num_steps,
        "flops": num_steps * count_step_flops(whole, slim, rows),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    healed = dataclasses.replace(slim, variables=variables)
    if not rounds(quantize):
        return healed, took
    choice = dataclasses.replace(slim.choice, gates=slim.inventory.open_gates())
    parts = [Cut(healed, choice, moments)], refit_rows or rows, quantize, report
    (rounded,) = slim_down(healed, *parts)
    return dataclasses.replace(rounded, choice=slim.choice), took


def count_step_flops(whole: Material, slim: Material, rows: Rows) -> float:
    """Returns the FLOPs of matrix products in a step of healing.

    A forward pass of the original, and three times one of the student: the pass back
    counts twice, as in training.

    Args:
        whole: The original.
        slim: The student.
        rows: Text; they tell how long a row is.
    """
    return count_rows(rows) * (_row_flops(whole, rows) + 3 * _row_flops(slim, rows))


def _row_flops(material: Material, rows: Rows) -> float:
    """Returns the FLOPs of a forward pass of one row."""
    model, lengths = material.model, material.lengths
    if len(model.towers) == 1:
        lengths = {"": rows.length}
    return flops_per_target(model, lengths) * model.targets_per_row(lengths)
