"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/tasks/table.py
"""

import json
from collections import defaultdict
from pathlib import Path

from marks import write_marked
from samples import list_samples
from shown import ARMS, GOALS, METRICS, PAIRS, STUDIES, get, spread, value
from slim_table import list_slim
from trials import list_trials

HERE = Path(__file__).parent
HEADS = ("study", "arm", "seeds", "steps", "seconds", "bytes", "metrics")
HEADS += ("first", "second", "third")
HEAD = f"| {' | '.join(HEADS)} |\n{'|---' * len(HEADS)}|"
GOAL_HEAD = """| study | arm | metric | goal | reached | difference |
|---|---|---|---|---|---|"""
Results = dict[int, dict]  # By seed.
Arms = dict[tuple[str, str], Results]


def main() -> None:
    arms: Arms = defaultdict(dict)
    for path in sorted(HERE.glob("results/*.json")):
        result = json.loads(path.read_text())
        arms[result["study"], result["arm"]][result["seed"]] = result
    keys = [(study, arm) for study in STUDIES for arm in ARMS]
    rows = [describe(*key, arms[key]) for key in keys if key in arms]
    write("table", [HEAD, *rows])
    write("goals", [GOAL_HEAD, *compare_with_goals(arms)])
    write("pairs", compare_all(arms))
    write("slim", list_slim(arms))
    write("samples", list_samples(arms))
    files = sorted(HERE.glob("results/tuning/*.json"))
    tables = [list_trials(path.stem, json.loads(path.read_text())) for path in files]
    write("trials", [line for table in tables for line in [*table, ""]])


def write(name: str, lines: list[str]) -> None:
    """Writes lines into the page, between the marks of this name."""
    write_marked(HERE / "README.md", name, lines)


def describe(study: str, arm: str, results: Results) -> str:
    """Returns the row of an arm: means over its seeds, and their spread."""
    runs = list(results.values())
    cells = [study, f"`{arm}`", str(len(runs)), "", f"{seconds(runs)}", ""]
    if "train" in runs[0]:
        cells[3] = f"{runs[0]['train']['steps']:,}"
        part = sum(bytes_left(run) for run in runs) / len(runs)
        cells[5] = f"{part:.0%}"
    is_there = lambda key: all(get(run, key) is not None for run in runs)
    keys = list(filter(is_there, STUDIES[study]))
    cells.append(", ".join(METRICS[key].words for key in keys))
    cells += [spread([value(run, key) for run in runs], key) for key in keys]
    return f"| {' | '.join([*cells, '', ''][:10])} |"


def bytes_left(result: dict) -> float:
    """Returns the bytes of the final model, as a part of those at the start."""
    return result["size"]["bytes"] / result["size"]["bytes_start"]


def seconds(runs: list[dict]) -> str:
    """Returns the time of the slowest run on a CPU; those of a GPU say little here."""
    on_cpu = [run for run in runs if platform(run) == "cpu"]
    times = [
        run["train"]["seconds"] if "train" in run else run["seconds"] for run in on_cpu
    ]
    return f"{max(times):.0f}" if times else "GPU"


def platform(run: dict) -> str:
    """Returns what a run ran on, ``cpu`` or ``gpu``."""
    return run.get("machine", {}).get("platform", "cpu")


def compare_with_goals(arms: Arms) -> list[str]:
    """Returns the rows of a table of goals, and by how much they were missed."""
    rows = []
    for (study, arm), goals in GOALS.items():
        runs = list(arms.get((study, arm), {}).values())
        for key, goal in goals.items():
            shown = METRICS[key]
            cells = [study, f"`{arm}`", shown.words, f"{goal:.{shown.digits}f}"]
            if not runs:
                rows.append(f"| {' | '.join([*cells, 'not run', ''])} |")
                continue
            values = [value(run, key) for run in runs]
            gap = sum(values) / len(values) - goal
            cells += [spread(values, key), f"{gap:+.{shown.digits}f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def compare_all(arms: Arms) -> list[str]:
    """Returns a table of the arms that share seeds, compared seed by seed."""
    head = "| study | arms | seeds | metric | difference |"
    lines = [head, "|---|---|---|---|---|"]
    for study, one, other in PAIRS:
        first, second = arms.get((study, one), {}), arms.get((study, other), {})
        seeds, key = sorted(first.keys() & second.keys()), STUDIES[study][0]
        if seeds:
            gaps = [value(first[s], key) - value(second[s], key) for s in seeds]
            row = [study, f"`{one}` - `{other}`", str(len(seeds)), METRICS[key].words]
            lines.append(f"| {' | '.join([*row, spread(gaps, key)])} |")
    return lines


if __name__ == "__main__":
    main()
