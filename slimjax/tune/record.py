"""``tune.json``: all that is known of the points of a path, over all folds.

It has no times, hosts or paths, so whoever finishes a folder writes the same file. All
rules read it, and nothing else.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from slimjax.metrics.frontier import find_corner, hypervolume
from slimjax.tune.points import (
    Facts,
    Json,
    compare_points,
    describe_curve,
    find_numbers,
    list_axes,
    range_of,
)

FEW_DOCUMENTS = 20


def describe_tune(
    root: Path,
    facts: Facts,
    rule: str,
    spent: Sequence[float],
    compared: Mapping[str, Sequence[Sequence[str]]],
    notes: Sequence[str],
) -> Json:
    """Returns the content of ``tune.json``.

    Args:
        root: The folder.
        facts: What is the same for all points.
        rule: The rule that was asked for.
        spent: FLOPs of all pieces and decays of each fold.
        compared: Folders of other models by what they are called, for each size those
            of its folds.
        notes: What a user should know.
    """
    names = [[f"fold{f}/point{k}" for f in range(facts.folds)] for k in range_of(facts)]
    curve = describe_curve(root, facts, names)
    others = {
        name: describe_curve(root, facts, own, find_numbers(own))
        for name, own in compared.items()
    }
    for title, other in others.items():
        for k, point in zip(
            find_numbers(compared[title]), other["points"], strict=True
        ):
            point |= compare_points(root, compared[title][k], names[k])
    curves = [
        list_axes(curve["points"]),
        *(list_axes(c["points"]) for c in others.values()),
    ]
    corner = find_corner(curves)
    for each, points in zip((curve, *others.values()), curves, strict=True):
        each["hypervolume"] = hypervolume(points, corner)
    return {
        **dataclasses.asdict(facts),
        "rule": rule,
        "corner": list(corner),
        **curve,
        "compared": others,
        "spent": list(spent),
        "spent_in_runs": [each / facts.run_flops for each in spent],
        "notes": [*notes, *_note_few(curve, facts.unit)],
    }


def _note_few(curve: Json, unit: str) -> list[str]:
    """Returns a warning of folds with few documents, examples or rows."""
    few = [
        f"fold {fold} has {count}"
        for fold, count in enumerate(curve["held_out"]["documents"])
        if count < FEW_DOCUMENTS
    ]
    if not few:
        return []
    return [
        f"Few {unit} to compare points on: {', '.join(few)}. The intervals are rough."
    ]
