"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/towers/table.py
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from arms import BUDGETS, RULES
from marks import write_marked

from slimjax.metrics.bootstrap import total
from slimjax.metrics.paired import compare_metric
from slimjax.metrics.texts import chrf

HERE = Path(__file__).parent
NOT_RUN = "Not run yet."
Results = dict[int, dict[str, Any]]
"""Results of an arm by seed."""

Arms = dict[tuple[str, str], Results]
OTHERS = {
    "digits": ("svm", "mlp", "cnn-unmoved", "cnn"),
    "clothes": ("lr", "mlp", "cnn-pooled", "cnn-unmoved", "cnn"),
    "stamps": ("majority", "histogram", "cnn"),
}
GOALS = {("digits", "cnn"): 97.4, ("digits", "mlp"): 94.7, ("clothes", "cnn"): 91.5}
GOALS |= {("stamps", "cnn"): 60.0, ("questions", "dense"): 99.0}
"""Accuracies that were hoped for before anything was measured."""

SLACK = 0.2
"""Points by which one price may be below the best rule."""


def main() -> None:
    arms: Arms = defaultdict(dict)
    for path in sorted(HERE.glob("results/*.json")):
        result = json.loads(path.read_text())
        arms[result["study"], result["arm"]][result["seed"]] = result
    write("questions", list_questions(arms))
    write("budgets", list_budgets(arms))
    write("rules", compare_rules(arms))
    write("pictures", list_others(arms))
    write("translation", list_translations(arms))
    write("samples", list_samples(arms))


def write(name: str, lines: list[str]) -> None:
    """Writes a table into the page; `NOT_RUN` where it has a head alone."""
    shown = lines if len(lines) > 2 else [NOT_RUN]
    write_marked(HERE / "README.md", name, shown)


def accuracy(result: dict[str, Any]) -> float:
    """Returns the accuracy on the test split, in percent."""
    return 100 * hits(result).mean().item()


def hits(result: dict[str, Any]) -> np.ndarray:
    """Returns which test examples are right."""
    found = np.frombuffer(bytes.fromhex(result["right"]), np.uint8)
    return np.unpackbits(found)[: result["num_test"]].astype(bool)


def spread(values: list[float]) -> str:
    """Returns the mean, and the standard deviation over seeds if there are several.

    Examples:
        >>> spread([80.0, 82.0])
        '81.0 ± 1.4'
    """
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def list_questions(arms: Arms) -> list[str]:
    """Returns the table of dense models, controls and peers."""
    names = ("arm", "seeds", "parameters", "seconds")
    names += ("all", "yes or no", "other answers", "goal")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for arm in ("majority", "question", "text", "image", "dense"):
        runs = list(arms.get(("questions", arm), {}).values())
        if not runs:
            continue
        kinds = [
            spread([100 * run["by_kind"][kind] for run in runs])
            for kind in ("yes_no", "others")
        ]
        goal = str(GOALS.get(("questions", arm), ""))
        cells = [f"`{arm}`", str(len(runs)), parameters(runs), seconds(runs)]
        cells += [spread([accuracy(run) for run in runs]), *kinds, goal]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def list_budgets(arms: Arms) -> list[str]:
    """Returns the table of slim models, with what each tower kept of its bytes."""
    names = ("image", "text", "mixed", "main")
    heads = ("budget", "rule", "seeds", "bytes", *names, "all", "yes or no", "others")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for budget in BUDGETS:
        for rule in RULES:
            runs = list(arms.get(("questions", f"{rule}-{budget}"), {}).values())
            if not runs:
                continue
            cells = [f"{budget}%", name_rule(rule, runs), str(len(runs))]
            part = lambda own: own["bytes"] / own["bytes_start"]
            cells.append(f"{np.mean([part(run['size']) for run in runs]):.1%}")
            for name in names:
                parts = [part(run["size"]["towers"][name]) for run in runs]
                cells.append(f"{np.mean(parts):.0%}")
            cells.append(spread([accuracy(run) for run in runs]))
            for kind in ("yes_no", "others"):
                cells.append(spread([100 * run["by_kind"][kind] for run in runs]))
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def name_rule(rule: str, runs: Results | list[dict[str, Any]]) -> str:
    """Returns a rule's name, marked where its towers cannot reach the budget alone.

    Then the other towers gave more than the rule says.
    """
    found = runs.values() if isinstance(runs, dict) else runs
    last = [run["seams"][-1] for run in found if run.get("seams")]
    is_kept = all(seam.get("keeps_division", True) for seam in last)
    return f"`{rule}`" if is_kept else f"`{rule}` (cannot reach)"


def compare_rules(arms: Arms) -> list[str]:
    """Returns the table of one price against the best rule at each budget."""
    heads = ("budget", "best rule", "seeds", "one price less that rule")
    heads += ("95 % interval", "within 0.2 or the interval")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for budget in BUDGETS:
        own = arms.get(("questions", f"price-{budget}"), {})
        rules = {
            rule: arms[key]
            for rule in RULES
            if rule != "price" and (key := ("questions", f"{rule}-{budget}")) in arms
        }
        shared = set(own).intersection(*rules.values()) if rules else set()
        if not shared or len(rules) < len(RULES) - 1:
            continue
        shared = sorted(shared)
        mean = lambda runs, seeds=shared: np.mean([accuracy(runs[s]) for s in seeds])
        best = max(rules, key=lambda rule: mean(rules[rule]))
        columns = lambda runs, seeds=shared: {
            "right": np.concatenate([hits(runs[s]) for s in seeds])
        }
        num_rows = len(columns(own)["right"])
        gap = compare_metric(
            lambda rows, num=num_rows: 100 * total(rows, "right") / num,
            columns(rules[best]),
            columns(own),
        )
        allowed = max(SLACK, gap.value - gap.low)
        cells = [f"{budget}%", name_rule(best, rules[best]), str(len(shared))]
        cells.append(f"{gap.value:+.2f}")
        cells.append(f"{gap.low:+.2f} to {gap.high:+.2f}")
        cells.append("yes" if gap.value >= -allowed else "no")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def list_others(arms: Arms) -> list[str]:
    """Returns the table of digits, clothes and stamps."""
    lines = ["| data | arm | seeds | parameters | steps | seconds | accuracy | goal |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for study, names in OTHERS.items():
        for arm in names:
            runs = list(arms.get((study, arm), {}).values())
            if not runs:
                continue
            steps = runs[0].get("train", {}).get("steps")
            cells = [study, f"`{arm}`", str(len(runs)), parameters(runs)]
            cells += [f"{steps:,}" if steps else "", seconds(runs)]
            cells.append(spread([accuracy(run) for run in runs]))
            cells.append(str(GOALS.get((study, arm), "")))
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def list_translations(arms: Arms) -> list[str]:
    """Returns the table of translations with and without the picture."""
    lines = ["| arm | seeds | chrF | `both` less this | 95 % interval |"]
    lines.append("|---|---|---|---|---|")
    both = arms.get(("translation", "both"), {})
    for arm in ("copies", "image", "text", "both"):
        runs = arms.get(("translation", arm), {})
        shared = sorted(runs.keys() & both.keys())
        if not shared:
            continue
        of = lambda rows: chrf(total(rows, "counts"))
        columns = lambda runs, seeds=shared: {
            "counts": np.concatenate([np.array(runs[s]["chrf_counts"]) for s in seeds])
        }
        scores = [float(of(columns(runs, [seed]))) for seed in shared]
        cells = [f"`{arm}`", str(len(shared)), spread(scores), "", ""]
        if arm != "both":
            gap = compare_metric(of, columns(runs), columns(both))
            cells[3:] = [f"{gap.value:+.1f}", f"{gap.low:+.1f} to {gap.high:+.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def list_samples(arms: Arms) -> list[str]:
    """Returns captions of test pictures beside the right ones."""
    lines = ["| captions | written | right |", "|---|---|---|"]
    for study in ("captions-en", "captions-zh"):
        for run in arms.get((study, "both"), {}).values():
            right = lambda texts: texts if isinstance(texts, str) else " / ".join(texts)
            lines += [f"| {study} | {a} | {right(e)} |" for a, e in run["samples"]]
            found = [m["test"] for m in run["metrics"] if m["key"] == "bleu"]
            lines += [f"| {study}, BLEU | {score:.1f} | |" for score in found]
    return lines


def parameters(runs: list[dict[str, Any]]) -> str:
    """Returns the parameters of a model; nothing for a peer."""
    return f"{runs[0]['size']['params']:,}" if "size" in runs[0] else ""


def seconds(runs: list[dict[str, Any]]) -> str:
    """Returns the time of the slowest run, and on what."""
    time = lambda run: run["train"]["seconds"] if "train" in run else run["seconds"]
    slowest = max(runs, key=time)
    kind = slowest.get("machine", {}).get("platform", "cpu")
    return f"{time(slowest):.0f}" + (" (GPU)" if kind == "gpu" else "")


if __name__ == "__main__":
    main()
