"""Trains the arms of arms.py, and writes small results.

Run: python experiments/towers/fetch.py, then
    python experiments/towers/run.py --study=questions [--arm=dense] [--seed=0]
    [--data=data] [--workdir=runs/towers] [--steps=0] [--alone]

Without --arm all arms of a study are trained, one after the other. Killed and started
again, it goes on where it was; what has a result is left alone. Slim arms start at the
first seam of another one (trunk.py) where that is there, unless --alone is given.
many.py trains many at the same time, and table.py makes the README's tables.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from arms import STUDIES
from splits import Settings, find_sources
from trunk import TRUNK, is_branch, is_grown, keep_trunk, start_at_trunk

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.metrics.texts import count_chrf
from slimjax.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
KEPT = ("metrics", "error", "size", "train", "config_hash", "state_hash", "versions")
KEPT += ("machine",)
"""What is kept of a report."""

FIRST_SEAM = read_config(ROOT / "configs/image_question.py")["resize"]["first_step"]
"""Step of the first seam of slim arms."""

NUM_SAMPLES = 6
"""Written texts that are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Images and texts under one price")
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--arm", default="", help="one of the study; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/towers"))
    parser.add_argument("--steps", type=int, default=0, help="a try, without a result")
    parser.add_argument("--alone", action="store_true", help="from the first step on")
    flags = parser.parse_args()
    for arm in [flags.arm] if flags.arm else STUDIES[flags.study].arms:
        run_arm(flags.study, arm, flags)


def run_arm(study: str, arm: str, flags: argparse.Namespace) -> None:
    """Trains one arm, unless its result is there."""
    path = result_path(study, arm, flags.seed)
    if path.exists() and not flags.steps:
        return
    few = shorten(study, flags.steps) if flags.steps else {}
    prefix = "try-" if flags.steps else ""
    folder = flags.workdir / f"{prefix}{path.stem}"
    if not flags.alone:
        trunk = f"{prefix}{result_path(study, TRUNK, flags.seed).stem}"
        few |= _share(arm, flags.workdir / trunk, few)
    result = train(study, arm, flags.seed, flags.data, folder, few)
    print(path.stem, result["error"], result["train"]["seconds"], flush=True)
    if not flags.steps:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result) + "\n")


def _share(arm: str, trunk: Path, few: Settings) -> Settings:
    """Returns the settings by which slim arms have their first steps in common."""
    first_seam = few.get("resize.first_step", FIRST_SEAM)
    if arm == TRUNK:
        return keep_trunk(first_seam)
    if is_branch(arm) and is_grown(trunk, first_seam):
        return start_at_trunk(trunk, first_seam)
    return {}


def shorten(study: str, steps: int) -> Settings:
    """Returns the settings of a run of few steps, its seams among them."""
    few = {"train.num_steps": steps, "train.eval_every_steps": steps}
    few |= {"train.eval_rows": 64, "optim.warmup_steps": 1}
    if study == "questions":
        few |= {"resize.first_step": steps // 2, "resize.every_steps": steps // 8}
    return few


def train(
    study: str, arm: str, seed: int, data: Path, folder: Path, few: Settings
) -> dict[str, Any]:
    """Trains an arm into a folder, and returns its result."""
    own = STUDIES[study]
    settings = own.arms[arm] | few
    sources = find_sources(own.data_set, seed, data)
    given = {"seed": seed, **sources, **settings}
    text = lambda value: value if isinstance(value, str) else json.dumps(value)
    changes = [(name, text(value)) for name, value in given.items()]
    config = override(read_config(ROOT / "configs" / f"{own.recipe}.py"), changes)
    report = fit(config, folder)
    result = {"study": study, "arm": arm, "seed": seed, "settings": settings}
    result |= {key: report[key] for key in KEPT}
    lines = (folder / "predictions-test.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    seams = RunFolder(folder).seams.read()
    return result | {"seams": seams} | describe_answers(own.metric, answers)


def describe_answers(metric: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what two runs are compared by: one entry for each test example.

    Of classes it is whether each is right, as bits in hexadecimal digits; of texts the
    counts that chrF adds up, and a few samples.
    """
    expected = [next(iter(line["expected"].values())) for line in answers]
    written = [line["prediction"] for line in answers]
    pairs = list(zip(written, expected, strict=True))
    if metric == "accuracy":
        right = [one == other for one, other in pairs]
        kinds = {"num_test": len(right), "right": np.packbits(right).tobytes().hex()}
        return kinds | {"by_kind": _by_kind(expected, right)}
    counts = count_chrf(written, [list_texts(texts) for texts in expected])
    return {"chrf_counts": counts.tolist(), "samples": pairs[:NUM_SAMPLES]}


def list_texts(texts: str | list[str]) -> list[str]:
    """Returns the right texts of an example, of which there may be one."""
    return [texts] if isinstance(texts, str) else texts


def _by_kind(expected: list[str], right: list[bool]) -> dict[str, float]:
    """Returns the accuracy of questions with yes or no, and of all others."""
    closed = np.array([answer in ("yes", "no") for answer in expected])
    hits = np.array(right)
    if not closed.any() or closed.all():
        return {}
    return {"yes_no": hits[closed].mean().item(), "others": hits[~closed].mean().item()}


def result_path(study: str, arm: str, seed: int) -> Path:
    """Returns where an arm's result is kept."""
    return RESULTS / f"{study}-{arm}-seed{seed}.json"


if __name__ == "__main__":
    main()
