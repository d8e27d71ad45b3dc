"""One path through ten sizes in three folds, fresh models and a nested family beside.

Run: python experiments/tune/run.py [--workdir=runs/tune] [--num_steps=600]
    [--corpus=stdlib=stdlib] [--corpus='austen=text:austen/*.txt']
    [--corpus='poetry=text:chinese/*.txt'] [--compare=none]

Killed and started again, it goes on where it was; several processes share the work.
What came out is written to results/; table.py makes the README's tables.
"""

import json
from pathlib import Path
from typing import Any

import recipe

from slimjax.metrics.frontier import find_corner, hypervolume
from slimjax.run.progress import Display
from slimjax.store.files import read_json, write_json
from slimjax.train.devices import prepare_devices
from slimjax.tune.answer import answer
from slimjax.tune.curve import read_curve
from slimjax.tune.preparing import prepare
from slimjax.tune.request import Request
from slimjax.tune.tuning import Tuner


def main() -> None:
    parser = recipe.make_parser(__doc__)
    parser.add_argument("--compare", default="scratch", help="none, or scratch")
    flags = parser.parse_args()
    prepare_devices()
    for name, source in recipe.list_corpora(flags):
        root = flags.workdir / name
        config = recipe.make_config(source, flags.num_steps)
        request = Request(
            points=recipe.POINTS,
            folds=recipe.FOLDS,
            cost=recipe.COST,
            compare=flags.compare,
            rule="description_length",
        )
        with Display() as display:
            prepared = prepare(config, request, root, display)
        tuner = Tuner(prepared, root)
        content = tuner.walk_folds()
        result = summarize(content) | {"corpus": name, "time": time_of(root, content)}
        write_json(recipe.RESULTS / f"{name}.json", result)
        write_json(recipe.RESULTS / f"{name}-tune.json", content)


def summarize(content: dict[str, Any]) -> dict[str, Any]:
    """Returns what the study asks of a finished tune."""
    rules = [judge(content, rule) for rule in recipe.RULES]
    return {
        "points": [
            {key: point[key] for key in ("name", "budget", "sizes", "error", "steps")}
            for point in content["points"]
        ],
        "spent_in_runs": content["spent_in_runs"],
        "rules": rules,
        "fresh": compare_fresh(content),
    }


def judge(content: dict[str, Any], rule: str) -> dict[str, Any]:
    """Returns how near a rule's choice is to the best one by the test split.

    The complexity is that of the rule, with errors on the test split, which nothing
    chose by.
    """
    found, curve = answer(content, rule), read_curve(content)
    errors = [point["test_error"] for point in content["points"]]
    if rule == "description_length":
        text = content["text_targets"]
        nats = [bits * 0.6931471805599453 for bits in curve.model_bits]
        costs = [n + e * text for n, e in zip(nats, errors, strict=True)]
    else:
        alpha = float(rule.partition("=")[2])
        costs = [
            alpha * part + e for part, e in zip(curve.fractions, errors, strict=True)
        ]
    return {
        "rule": rule,
        "chosen": found.point["name"],
        "is_end": found.number in (0, len(costs) - 1),
        "above_best": costs[found.number] / min(costs) - 1,
    }


def compare_fresh(content: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the path beside the best fresh model of each size."""
    arms = content["compared"]
    if not arms:
        return None
    best: dict[str, dict[str, Any]] = {}
    for curve in arms.values():
        for point in curve["points"]:
            known = best.get(point["name"])
            if known is None or point["error"] < known["error"]:
                best[point["name"]] = point
    pairs = [(p, best[p["name"]]) for p in content["points"] if p["name"] in best]
    gains = [bits(fresh) - bits(point) for point, fresh in pairs]
    sides = zip(*pairs, strict=True)
    curves = [[(p["size"], p["error"]) for p in side] for side in sides]
    corner = find_corner(curves)
    volumes = [hypervolume(curve, corner) for curve in curves]
    return {
        "gains": gains,
        "mean_gain": sum(gains) / len(gains),
        "better": sum(gain > 0 for gain in gains),
        "of": len(gains),
        "hypervolume_path": volumes[0],
        "hypervolume_fresh": volumes[1],
    }


def bits(point: dict[str, Any]) -> float:
    """Returns held-out bits per byte: the mean over the folds."""
    return point["metrics"]["bits_per_byte"]["valid"]


def time_of(root: Path, content: dict[str, Any]) -> dict[str, float]:
    """Returns wall clock of the path, and of dense training of the same FLOPs.

    Dense training is the first piece of a fold, whose model is whole; compiling and
    the end of the run are left out there, and counted for the path.
    """
    lines = (root / "log.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    own = [entry["piece"] for entry in entries if entry["what"] == "end"]
    own = [name for name in own if "scratch" not in name and "refit" not in name]
    seconds = 0.0
    for name in {*own} - {"chosen"}:
        seconds += read_json(root / name / "report.json")["train"]["seconds"]
    first = read_json(root / "fold0" / "trunk" / "0" / "report.json")
    stage = first["stages"][0]
    flops = first["train"]["flops_total"]
    per_flop = stage["step_time_s"] * stage["num_steps"] / flops
    dense = per_flop * sum(content["spent"])
    return {"path_s": seconds, "dense_s": dense, "ratio": seconds / dense}


if __name__ == "__main__":
    main()
