"""What a model is worth on each domain, and what is left of each domain's adapters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from slimjax.data.dataset import Dataset
from slimjax.data.domains import NONE, names_of
from slimjax.data.outline import DOMAIN
from slimjax.models.adapters import count_adapters
from slimjax.run.answers import owners_of
from slimjax.run.blueprints import make_model
from slimjax.tasks.base import Columns, Metric, nats_per_target
from slimjax.train.blueprint import Blueprint

OfDomain = Mapping[str, Any]
"""Name of a domain, None for rows of no domain; error, metrics, number of examples."""


def measure_domains(
    data: Dataset,
    split: str,
    numbers: Int[np.ndarray, " R"],
    columns: Columns,
    metrics: Sequence[Metric],
) -> list[OfDomain]:
    """Returns what is measured of each domain; nothing where rows have none.

    Args:
        data: Where the rows are from.
        split: Its name.
        numbers: The rows that were measured, ascending: all rows of some examples.
        columns: What is known of each of these examples.
        metrics: What is measured.
    """
    names = names_of(data.codecs)
    if not names:
        return []
    own = np.asarray(data.splits[split][DOMAIN])[_first_rows(data, split, numbers)]
    found: list[OfDomain] = []
    for number, name in [*enumerate(names), (NONE, None)]:
        is_own = own == number
        if is_own.any():
            rows = {key: column[is_own] for key, column in columns.items()}
            found.append(_measure(name, rows, metrics, int(is_own.sum())))
    return found


def _measure(
    name: str | None, rows: Columns, metrics: Sequence[Metric], num_examples: int
) -> OfDomain:
    return {
        "domain": name,
        "num_examples": num_examples,
        "nats_per_target": float(nats_per_target(rows)),
        **{metric.key: float(metric.of(rows)) for metric in metrics},
    }


def _first_rows(
    data: Dataset, split: str, numbers: Int[np.ndarray, " R"]
) -> Int[np.ndarray, " E"]:
    """Returns the first row of each example."""
    owners = owners_of(data, split)
    if owners is None:
        return numbers
    return numbers[np.unique(owners[numbers], return_index=True)[1]]


def describe_domains(
    blueprint: Blueprint,
    data: Dataset,
    valid: Sequence[OfDomain],
    test: Sequence[OfDomain],
) -> dict[str, Any]:
    """Returns ``domains`` of a report: a dict for each; nothing without domains.

    Args:
        blueprint: That of the finished model.
        data: What it has learned from.
        valid: What was measured of each domain on the valid split.
        test: The same on the test split.
    """
    names = names_of(data.codecs)
    if not names:
        return {}
    start = make_model(blueprint.run, blueprint.outline).architecture()
    before, after = (
        count_adapters(entries, names)
        for entries in (start, blueprint.model.architecture())
    )
    measured = {
        split: {own["domain"]: _without_name(own) for own in found}
        for split, found in (("valid", valid), ("test", test))
    }
    rows: list[dict[str, Any]] = []
    for name in (*names, None):
        own: dict[str, Any] = {
            split: found[name] for split, found in measured.items() if name in found
        }
        if name in before:
            own["adapter"] = after[name] | {
                f"{key}_start": number for key, number in before[name].items()
            }
        rows += [{"domain": name, **own}] if own else []
    return {"domains": rows}


def _without_name(own: OfDomain) -> dict[str, Any]:
    return {key: value for key, value in own.items() if key != "domain"}
