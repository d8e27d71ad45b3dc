"""Trials of settings, as they stand in results/tuning: tables for the README."""

from typing import Any


def list_trials(study: str, trials: list[dict[str, Any]]) -> list[str]:
    """Returns a table of the trials of a study, and the settings that they vary."""
    names = list(dict.fromkeys(name for t in trials for name in t["settings"]))
    metric = trials[0].get("metric", "valid_accuracy")
    words = metric.removeprefix("valid_").replace("_", " ")
    heads = [*(f"`{name.split('.')[1]}`" for name in names), "steps", f"valid {words}"]
    lines = [f"| {study}: {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for trial in trials:
        cells = [describe_setting(trial["settings"].get(name, "")) for name in names]
        factor = 100 if trial[metric] <= 1 else 1
        cells += [f"{trial['steps']:,}", f"{factor * trial[metric]:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def describe_setting(value: object) -> str:
    """Returns a value for readers; an empty one is the default of the recipe."""
    return "default" if value == "" else f"{value}"
