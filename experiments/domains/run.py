"""Trains one arm of the study, or one model of the transfer matrix.

Run: python experiments/domains/run.py --arm=adapters --k=200 [--seed=0]
    python experiments/domains/run.py --matrix=dense --trained=movie [--seed=0]
    [--workdir=runs/domains]

Killed and started again, it goes on where it was. Results are small JSON files in
results/; many.py runs all of them, and table.py makes the README's tables.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from arms import ARMS, FIRST, MATRIX, MINILM, SOURCE, TARGET, Arm
from reviews import DOMAINS, path_of

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
EVERY = "all"
"""Stands for all domains, where the matrix has a model of all."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Domains")
    parser.add_argument("--arm", choices=ARMS, default="")
    parser.add_argument("--k", type=int, default=0, help="examples of the target")
    parser.add_argument("--matrix", choices=MATRIX, default="")
    parser.add_argument("--trained", choices=(*DOMAINS, EVERY), default=EVERY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=Path("runs/domains"))
    parser.add_argument("--steps", type=int, default=0, help="a try, without a result")
    flags = parser.parse_args()
    if flags.matrix:
        run_matrix(flags.matrix, flags.trained, flags.seed, flags.workdir)
    else:
        run_arm(flags.arm, flags.k, flags.seed, flags.workdir, flags.steps)


def result_path(name: str, seed: int) -> Path:
    """Returns where a result is kept."""
    return RESULTS / f"{name}-seed{seed}.json"


def name_of(arm: str, k: int) -> str:
    """Returns the name of an arm's run with k target examples."""
    return f"{arm}-k{k}"


def run_arm(name: str, k: int, seed: int, workdir: Path, steps: int = 0) -> None:
    """Trains an arm, unless its result is there."""
    path = result_path(name_of(name, k), seed)
    if path.exists() and not steps:
        return
    arm, data = ARMS[name], workdir / "data"
    if steps:
        few = {"train.num_steps": steps, "train.num_epochs": 0}
        few["train.eval_every_steps"] = 0
        arm = dataclasses.replace(arm, settings=arm.settings | few)
    sizes = {SOURCE: 0, TARGET: k}
    own = {
        d: path_of(data, d, "train", seed, sizes[d])
        for d in arm.reads
        if d == SOURCE or k
    }
    tests = [path_of(data, TARGET, "test", seed)]
    folder = workdir / (path.stem + (f"-try{steps}" if steps else ""))
    result = {"arm": name, "k": k, "seed": seed}
    result |= train(arm, own, tests, seed, folder, workdir)
    keep(path, result) if not steps else print(result)


def run_matrix(kind: str, trained: str, seed: int, workdir: Path) -> None:
    """Trains a model of the transfer matrix, unless its result is there."""
    path = result_path(f"matrix-{kind}-{trained}", seed)
    if path.exists():
        return
    data, names = workdir / "data", DOMAINS if trained == EVERY else (trained,)
    own = {d: path_of(data, d, "train", seed) for d in names}
    tests = [path_of(data, d, "test", seed) for d in DOMAINS]
    arm = Arm("domains", MATRIX[kind])
    result = {"matrix": kind, "trained": trained, "seed": seed}
    keep(path, result | train(arm, own, tests, seed, workdir / path.stem, workdir))


def keep(path: Path, result: dict[str, Any]) -> None:
    """Writes a result."""
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, result["accuracy"], flush=True)


def train(
    arm: Arm,
    sources: dict[str, Path],
    tests: list[Path],
    seed: int,
    folder: Path,
    workdir: Path,
) -> dict[str, Any]:
    """Trains an arm into a folder, and returns what is kept of it.

    Args:
        arm: The arm.
        sources: Training examples of each domain.
        tests: Files of test examples, which name their domains.
        seed: Of the weights, the order of rows and the splits.
        folder: The run folder.
        workdir: Where other runs are.
    """
    domains = {domain: f"jsonl:{path}" for domain, path in sources.items()}
    changes = {**arm.settings, "seed": seed, "data.domains": domains}
    changes |= {"data.test_source": [f"jsonl:{path}" for path in tests]}
    changes |= {"data.source": "", "model.init_from": find_start(arm, seed, workdir)}
    if not arm.start:
        del changes["model.init_from"]
    config = read_config(ROOT / "configs" / f"{arm.recipe}.py")
    pairs = [(name, json.dumps(value)) for name, value in changes.items()]
    report = fit(override(config, pairs), folder)
    kept = ("size", "train", "config_hash", "state_hash", "versions", "machine")
    result = {key: report[key] for key in kept}
    result |= {"adapters": {d["domain"]: d.get("adapter") for d in report["domains"]}}
    return result | {"settings": arm.settings} | count_right(folder)


def find_start(arm: Arm, seed: int, workdir: Path) -> str:
    """Returns the folder whose weights an arm starts from; "" for fresh ones."""
    if arm.start == MINILM:
        from minilm import make_folder

        return str(make_folder(workdir / "data"))
    if not arm.start:
        return ""
    folder = workdir / result_path(name_of(FIRST, 0), seed).stem
    if not RunFolder(folder).report.is_file():
        result_path(name_of(FIRST, 0), seed).unlink(missing_ok=True)
        run_arm(FIRST, 0, seed, workdir)
    return str(folder)


def count_right(folder: Path) -> dict[str, Any]:
    """Returns accuracies of the test examples, and which of them are right."""
    lines = (folder / "predictions-test.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    right = [row["prediction"] == row["expected"]["label"] for row in rows]
    of = {
        d: [r for r, row in zip(right, rows, strict=True) if row["domain"] == d]
        for d in DOMAINS
    }
    return {
        "accuracy": sum(right) / len(right),
        "by_domain": {d: sum(own) / len(own) for d, own in of.items() if own},
        "right": "".join(map(str, map(int, right))),
    }


if __name__ == "__main__":
    main()
