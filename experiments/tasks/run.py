"""Trains small models on the studies of sets.py, dense and slimmed.

Run: python experiments/tasks/run.py --study=movie [--seed=0] [--arm=dense]
    [--workdir=runs/tasks]

Arms are those of arms_labels.py, arms_spans.py, arms_pairs.py and arms_images.py;
without --arm all arms of a study are trained, one after the other. Killed and started
again, it goes on where it was. Results are small JSON files in results/; baselines.py
computes the peers on the same examples, and table.py makes the README's table.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import arms_images
import arms_labels
import arms_pairs
import arms_spans
from arm import MINILM, Arm, as_changes
from minilm import make_folder
from samples import STUDIES as SAMPLED
from samples import read_samples
from search_by_vectors import search
from sets import STUDIES, make_split

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
ARMS = arms_labels.ARMS | arms_spans.ARMS | arms_pairs.ARMS | arms_images.ARMS


def main() -> None:
    parser = argparse.ArgumentParser(description="Tasks")
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arm", default="", help="one of the study; default all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--steps", type=int, default=0, help="a try, without a result")
    flags = parser.parse_args()
    for name in [flags.arm] if flags.arm else ARMS[flags.study]:
        if flags.steps:
            try_arm(flags.study, name, flags.seed, flags.workdir, flags.steps)
        else:
            run_arm(flags.study, name, flags.seed, flags.workdir)


def run_arm(study: str, name: str, seed: int, workdir: Path) -> None:
    """Trains one arm, unless its result is there."""
    if result_path(study, name, seed).exists():
        return
    arm = ARMS[study][name]
    if arm.start not in ("", MINILM):
        run_arm(study, arm.start, seed, workdir)
    train_arm(arm, study, name, seed, workdir)


def train_arm(arm: Arm, study: str, name: str, seed: int, workdir: Path) -> None:
    """Trains an arm under a name, and writes its result."""
    path = result_path(study, name, seed)
    result: dict[str, Any] = {"study": study, "arm": name, "seed": seed}
    if arm.recipe:
        result |= train(arm, study, seed, workdir, workdir / path.stem)
    else:
        result |= search(make_split(study, seed, workdir / "data")[0], workdir / "data")
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, result.get("error", result), flush=True)


def try_arm(study: str, name: str, seed: int, workdir: Path, steps: int) -> None:
    """Trains an arm for a few steps; test examples are not read."""
    few = {"train.num_steps": steps, "train.num_epochs": 0}
    few |= {"train.eval_every_steps": steps, "train.eval_rows": 64}
    few |= {"data.test_fraction": 0.005}
    folder = workdir / "tries" / f"{study}-{name}-{steps}"
    result = train(
        ARMS[study][name].but(few), study, seed, workdir, folder, tests=False
    )
    print(study, name, result["train"], result["error"], flush=True)


def train(
    arm: Arm, study: str, seed: int, workdir: Path, folder: Path, *, tests: bool = True
) -> dict[str, Any]:
    """Trains an arm into a folder, and returns what is kept of its report."""
    sources = make_split(study, seed, workdir / "data")[: 1 + tests]
    changes = [("seed", str(seed)), *as_changes(arm.settings)]
    if arm.start:
        start = workdir / result_path(study, arm.start, seed).stem
        start = make_folder(workdir / "data") if arm.start == MINILM else start
        changes += [("model.init_from", str(start))]
    if arm.is_plain:
        sources = (f"{sources[0]}#text",)
    names = ("data.source", "data.test_source")[: len(sources)]
    changes += list(zip(names, sources, strict=True))
    config = read_config(ROOT / "configs" / f"{arm.recipe}.py")
    report = fit(override(config, changes), folder)
    kept = ("metrics", "error", "size", "train", "data", "config_hash")
    kept += ("state_hash", "versions", "machine")
    result = {key: report[key] for key in kept}
    result |= {"architecture": report["stages"][-1]["architecture"]}
    if study in SAMPLED and tests:
        result |= {"samples": read_samples(folder)}
    return result | {"seams": RunFolder(folder).seams.read(), "changes": dict(changes)}


def result_path(study: str, name: str, seed: int) -> Path:
    """Returns where an arm's result is kept."""
    return RESULTS / f"{study}-{name}-seed{seed}.json"


if __name__ == "__main__":
    main()
