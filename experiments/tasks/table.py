"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/tasks/table.py
"""

import json
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """| study | arm | seeds | steps | seconds | bytes | test accuracy, % \
| macro F1, % |
|---|---|---|---|---|---|---|---|"""
STUDIES = ("movie", "r8", "zh", "mnist", "fashion")
ARMS = ("dense", "slim", "minilm", "naive-bayes", "svm", "textbook", "numpy")
ARMS += ("textbook-relu", "numpy-relu", "tuned", "slim-units", "slim-bits")
PAIRS = (("movie", "slim", "dense"), ("movie", "dense", "naive-bayes"))
PAIRS += (("movie", "minilm", "naive-bayes"),)
PAIRS += (("r8", "slim", "dense"), ("r8", "dense", "naive-bayes"))
PAIRS += (("zh", "slim", "dense"), ("zh", "dense", "svm"))
PAIRS += (("mnist", "textbook", "numpy"), ("mnist", "textbook-relu", "numpy-relu"))
PAIRS += (("mnist", "slim-units", "tuned"), ("mnist", "slim-bits", "tuned"))
PAIRS += (("fashion", "textbook", "numpy"), ("fashion", "textbook-relu", "numpy-relu"))
Results = dict[int, dict]  # By seed.


def main() -> None:
    arms: dict[tuple[str, str], Results] = defaultdict(dict)
    for path in sorted(HERE.glob("results/*.json")):
        result = json.loads(path.read_text())
        arms[result["study"], result["arm"]][result["seed"]] = result
    keys = [(study, arm) for study in STUDIES for arm in ARMS]
    rows = [describe(*key, arms[key]) for key in keys if key in arms]
    write("table", [HEAD, *rows, "", *compare_all(arms)])
    tables = map(list_trials, ("movie", "r8", "mnist"))
    write("trials", [line for table in tables for line in [*table, ""]])


def write(name: str, lines: list[str]) -> None:
    """Writes lines into the page, between the marks of this name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = (HERE / "README.md").read_text()
    before, after = page.split(begin)[0], page.split(end)[1]
    text = "\n".join(lines).strip()
    (HERE / "README.md").write_text(f"{before}{begin}\n{text}\n{end}{after}")
    print(text)


def describe(study: str, arm: str, results: Results) -> str:
    """Returns the row of an arm: means over its seeds, and their spread."""
    runs = list(results.values())
    cells = [study, f"`{arm}`", str(len(runs)), "", f"{seconds(runs)}", ""]
    if "train" in runs[0]:
        cells[3] = f"{runs[0]['train']['steps']:,}"
        part = sum(bytes_left(run) for run in runs) / len(runs)
        cells[5] = f"{part:.0%}"
    cells += [
        spread([get(run, key) for run in runs]) for key in ("accuracy", "macro_f1")
    ]
    return f"| {' | '.join(cells)} |"


def bytes_left(result: dict) -> float:
    """Returns the bytes of the final model, as a part of those at the start."""
    return result["size"]["bytes"] / result["size"]["bytes_start"]


def seconds(runs: list[dict]) -> str:
    """Returns the time of the slowest run."""
    times = [
        run["train"]["seconds"] if "train" in run else run["seconds"] for run in runs
    ]
    return f"{max(times):.0f}"


def get(result: dict, key: str) -> float:
    """Returns a metric on the test split, in percent."""
    if key in result:
        return 100 * result[key]
    return 100 * next(m["test"] for m in result["metrics"] if m["key"] == key)


def spread(values: list[float]) -> str:
    """Returns the mean, and the standard deviation over seeds if there are several.

    Examples:
        >>> spread([80.0, 82.0])
        '81.0 ± 1.4'
    """
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.1f} ± {deviation:.1f}"


def compare_all(arms: dict[tuple[str, str], Results]) -> list[str]:
    """Returns a table of the arms that share seeds, compared seed by seed."""
    head = "| study | arms | seeds | difference of accuracy, points |"
    lines = [head, "|---|---|---|---|"]
    for study, one, other in PAIRS:
        first, second = arms.get((study, one), {}), arms.get((study, other), {})
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            gaps = [
                get(first[s], "accuracy") - get(second[s], "accuracy") for s in seeds
            ]
            row = [study, f"`{one}` - `{other}`", str(len(seeds)), spread(gaps)]
            lines.append(f"| {' | '.join(row)} |")
    return lines


def list_trials(study: str) -> list[str]:
    """Returns a table of the trials of a study, and the settings that they vary."""
    trials = json.loads((HERE / f"results/tuning/{study}.json").read_text())
    names = list(trials[0]["settings"])
    head = [
        *(f"`{name.split('.')[1]}`" for name in names),
        "steps",
        "valid accuracy, %",
    ]
    lines = [f"| {study}: {' | '.join(head)} |", "|---" * len(head) + "|"]
    for trial in trials:
        cells = [describe_setting(trial["settings"][name]) for name in names]
        cells += [f"{trial['steps']:,}", f"{100 * trial['valid_accuracy']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def describe_setting(value: object) -> str:
    """Returns a value for readers; an empty one is the default of the model's style."""
    return "default" if value == "" else f"{value}"


if __name__ == "__main__":
    main()
