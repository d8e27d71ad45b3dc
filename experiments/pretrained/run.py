"""SmolLM2-135M with fewer parameters and fewer bits, after one calibration.

Run: python experiments/pretrained/run.py --model=DIR --novels=DIR --workdir=DIR
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from slimjax.compress.config import Request
from slimjax.compress.errors import measure_all
from slimjax.compress.moments import Moments
from slimjax.compress.pipeline import (
    Seams,
    Work,
    describe_slim,
    make_slims,
    prepare,
)
from slimjax.compress.settings import read_settings
from slimjax.compress.slimming import Slim

CALIBRATION = (
    "emma",
    "mansfield_park",
    "pride_and_prejudice",
    "sense_and_sensibility",
)
HELD_OUT = "persuasion"
KINDS = ("inputs", "means", "slopes")


def save_moments(path: Path, moments: Moments) -> None:
    """Writes moments as one ``.npz`` file."""
    arrays = {
        f"{kind}/{'.'.join(name)}": value
        for kind in KINDS
        for name, value in getattr(moments, kind).items()
    }
    counts = np.array([moments.num_positions, moments.num_targets])
    with path.open("wb") as file:
        np.savez(file, counts=counts, **arrays)


def read_moments(path: Path) -> Moments | None:
    """Returns moments that were saved before; None if there are none."""
    if not path.is_file():
        return None
    moments = Moments()
    with np.load(path) as arrays:
        moments.num_positions, moments.num_targets = arrays["counts"].tolist()
        for key in arrays.files:
            kind, _, name = key.partition("/")
            if kind in KINDS:
                getattr(moments, kind)[tuple(name.split("."))] = arrays[key]
    return moments


def make_request(flags: argparse.Namespace, size: str, budgets: tuple[str, ...]):
    """Returns what is asked for: four novels calibrate, others are measured."""
    texts = flags.workdir / "calibration"
    texts.mkdir(parents=True, exist_ok=True)
    for name in CALIBRATION:
        copy = texts / f"{name}.txt"
        copy.write_bytes((flags.novels / f"{name}.txt").read_bytes())
    also = (f"text:{flags.novels / HELD_OUT}.txt", "stdlib")
    return Request(
        model=str(flags.model),
        data=f"text:{texts}/*.txt",
        workdir=str(flags.workdir / "folders"),
        budgets=budgets,
        size=size,
        also=also,
        num_rows=flags.rows,
        num_slope_rows=flags.slope_rows,
        overrides=tuple(tuple(pair.split("=", 1)) for pair in flags.set),
    )


class Clock:
    """Prints what is done, with the seconds since the start."""

    def __init__(self):
        """Starts."""
        self.start, self.last = time.perf_counter(), ""

    def __call__(self, what: str, fraction: float) -> None:
        """Prints the beginning and the end of each part."""
        if what != self.last or fraction >= 1:
            seconds = time.perf_counter() - self.start
            print(f"{seconds:8.1f} s  {what} {fraction:.0%}", flush=True)
        self.last = what


def describe(work: Work, budget: str, slim: Slim, seams: Seams, seconds: float) -> dict:
    """Returns what is written down of one budget."""
    after = measure_all(slim.model, slim.variables, work.texts)
    report = describe_slim(work, budget, slim, seams, after, seconds)
    kept = [(y.num_kv_heads, y.mlp_dim) for y in slim.model.layers]
    return {
        "errors": report["compress"]["errors"],
        "size": report["size"],
        "predicted": report["compress"]["predicted_loss_change"],
        "true": report["compress"]["true_loss_change"],
        "kv_heads_and_mlp_dims": kept,
        "seconds": seconds,
    }


def main() -> None:
    """Measures what is not measured yet, and writes it down after each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--novels", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--size", default="params")
    parser.add_argument("--budgets", default="90%,80%,70%")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--slope_rows", type=int, default=48)
    parser.add_argument("--set", nargs="*", default=[], help="settings: a.b=value")
    flags = parser.parse_args()
    budgets = tuple(flags.budgets.split(","))
    request = make_request(flags, flags.size, budgets)
    results = flags.workdir / "results.json"
    known = json.loads(results.read_text()) if results.is_file() else {}
    name = lambda budget: " ".join(
        [flags.size, budget, f"{flags.rows}/{flags.slope_rows} rows", *flags.set]
    )
    if all(name(budget) in known for budget in budgets):
        return
    stored = flags.workdir / f"moments-{flags.rows}-{flags.slope_rows}.npz"
    moments, clock = read_moments(stored), Clock()
    work = prepare(request, read_settings(request), clock, moments)
    if moments is None:
        save_moments(stored, work.moments)
    left = [budget for budget in budgets if name(budget) not in known]
    begun = time.perf_counter()
    made = make_slims(work, left)
    seconds = time.perf_counter() - begun
    for budget, (slim, seams) in zip(left, made, strict=True):
        known[name(budget)] = describe(work, budget, slim, seams, seconds)
        results.write_text(json.dumps(known, indent=1) + "\n")
        for error in known[name(budget)]["errors"]:
            print(budget, error["source"], error["ratio"], flush=True)


if __name__ == "__main__":
    main()
