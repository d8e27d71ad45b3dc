"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/domains/table.py
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from arms import ALL, ARMS, FIRST
from marks import write_marked
from peers import PEERS, SEEDS
from reviews import DOMAINS

from slimjax.metrics.paired import compare_metric

HERE = Path(__file__).parent
Result = dict[str, Any]
Runs = dict[tuple[str, int], dict[int, Result]]  # By arm and k, then by seed.
KS = (*ALL, 2000)
NOT_RUN = ["Not run yet."]
PAIRS = (
    ("adapters", "pooled"),
    ("adapters", "pooled-even"),
    ("adapters", "tuned"),
    ("adapters-slim", "adapters"),
    ("minilm-adapters", "minilm-pooled"),
)
GOALS = {
    ("lr-pooled", 0): 63.3,
    ("lr-pooled", 50): 66.2,
    ("lr-pooled", 200): 70.1,
    ("lr-pooled", 1000): 76.0,
    ("lr-pooled", 2000): 78.8,
    ("lr-target", 50): 61.8,
    ("lr-target", 200): 67.5,
    ("lr-target", 1000): 76.0,
    ("lr-target", 2000): 78.6,
    ("lr-minilm", 0): 74.5,
    ("minilm-adapters", 0): 75.0,
    ("minilm-adapters", 200): 80.0,
}
"""Accuracies that were known or hoped for beforehand."""


def main() -> None:
    runs: Runs = defaultdict(dict)
    matrix: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for path in sorted(HERE.glob("results/*.json")):
        found = json.loads(path.read_text())
        if "matrix" in found:
            matrix[found["matrix"], found["trained"]].append(found)
        else:
            runs[found["arm"], found["k"]][found["seed"]] = found
    write("table", list_arms(runs) if runs else NOT_RUN)
    write("goals", list_goals(runs) if runs else NOT_RUN)
    write("pairs", list_pairs(runs) if runs else NOT_RUN)
    write("kept", list_kept(runs) if runs else NOT_RUN)
    write("matrix", list_matrix(matrix) if matrix else NOT_RUN)


def write(name: str, lines: list[str]) -> None:
    """Writes lines into the page, between the marks of this name."""
    write_marked(HERE / "README.md", name, lines)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def spread(values: list[float]) -> str:
    """Returns the mean of values in percent, and their standard deviation."""
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if values[1:] else mean


def list_arms(runs: Runs) -> list[str]:
    """Returns a table of arms by number of target examples."""
    rows = []
    for arm in (*ARMS, *PEERS):
        own = {k: list(runs[arm, k].values()) for k in KS if runs.get((arm, k))}
        if not own:
            continue
        every = [run for found in own.values() for run in found]
        cells = [spread([run["accuracy"] for run in own.get(k, [])]) for k in KS]
        rows.append([f"`{arm}`", str(len({r["seed"] for r in every})), *cells])
        sized = [run for run in every if "size" in run]
        left = [r["size"]["bytes"] / r["size"]["bytes_start"] for r in sized]
        rows[-1] += [f"{statistics.mean(left):.0%}" if left else "", added(arm, own)]
    head = ["arm", "seeds", *(f"k = {k:,}" for k in KS), "bytes", "more parameters"]
    return table(head, rows)


def added(arm: str, own: dict[int, list[Result]]) -> str:
    """Returns what the adapters of one domain add to the parameters of the trunk."""
    several = [run for k, found in own.items() if k for run in found]
    kept = (several[0].get("adapters") or {}) if several else {}
    units = max([own["units_start"] for own in kept.values() if own], default=0)
    if not units:
        return ""
    run = several[0]
    total = run["size"]["params_start"]
    width = run["settings"]["model.adapters"]["width"]
    model_width = 384 if "minilm" in arm else 64
    sublayers = units // width
    one = units * (2 * model_width) + sublayers * model_width
    return f"{one / (total - 2 * one):.1%}"


def list_goals(runs: Runs) -> list[str]:
    """Returns a table of goals, and what was reached."""
    rows = []
    for (arm, k), goal in GOALS.items():
        values = [run["accuracy"] for run in runs.get((arm, k), {}).values()]
        rows.append([f"`{arm}`", f"{k:,}", f"{goal:.1f}", spread(values) or "not run"])
    return table(["arm", "k", "goal or known before", "reached"], rows)


def list_pairs(runs: Runs) -> list[str]:
    """Returns a table of arms that are compared by the same examples."""
    rows = []
    for one, other in PAIRS:
        for k in ALL:
            first = runs.get((one, k), {})
            second = runs.get((other, k), {})
            if not k and not second and other in ("pooled", "tuned"):
                second = runs.get((FIRST, 0), {})
            seeds = [s for s in SEEDS if s in first and s in second]
            if seeds:
                found = compare([second[s] for s in seeds], [first[s] for s in seeds])
                rows.append([f"`{one}` - `{other}`", f"{k:,}", str(len(seeds)), found])
    return table(["arms", "k", "seeds", "difference (95 % interval)"], rows)


def compare(first: list[Result], second: list[Result]) -> str:
    """Returns how much more the second results have right, with an interval."""
    columns = [
        {"right": np.array([int(c) for run in runs for c in run["right"]], np.float64)}
        for runs in (first, second)
    ]
    mean = lambda own: np.mean(own["right"], axis=-1)
    gap = compare_metric(mean, *columns)
    low, high = 100 * gap.low, 100 * gap.high
    return f"{100 * gap.value:+.1f} ({low:+.1f} to {high:+.1f})"


def list_kept(runs: Runs) -> list[str]:
    """Returns a table of the hidden units of adapters that seams left."""
    rows = []
    for k in ALL:
        found = list(runs.get(("adapters-slim", k), {}).values())
        kept: dict[str, list[int]] = defaultdict(list)
        for run in found:
            for domain, own in run["adapters"].items():
                kept[domain] += [own["units"]] if own else []
        cells = [f"{statistics.mean(kept[d]):.0f}" if kept[d] else "" for d in DOMAINS]
        if found:
            rows.append([f"k = {k:,}", str(len(found)), *cells[:2]])
    return table(["run", "seeds", *DOMAINS[:2]], rows) if rows else NOT_RUN


def list_matrix(matrix: dict[tuple[str, str], list[Result]]) -> list[str]:
    """Returns a table of models by the domain that they are tested on."""
    rows = []
    for (kind, trained), runs in sorted(matrix.items()):
        own = [[run["by_domain"][d] for run in runs] for d in DOMAINS]
        rows.append([f"{trained}, {kind}", str(len(runs)), *map(spread, own)])
    return table(["trained on", "seeds", *DOMAINS], rows)


if __name__ == "__main__":
    main()
