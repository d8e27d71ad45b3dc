"""Faults of numbers: a loss that is none or leaps, prices that nothing is worth."""

import json
import shutil
from pathlib import Path
from random import Random

from bench import TINY, Bench, Fault
from forks import Fork
from runs import FACTORS, poison

from slimjax.store.packed import read_packed
from slimjax.trees import named_leaves

MLP_DIM = 3
STRATEGIES = ("exchange", "size_penalty", "size_decay")
UNITS = '["heads", "kv_heads", "mlp", "sublayer", "layer", "embed"]'
NARROW = ("exchange", f"resize.units={UNITS}")
BITS = ("exchange", "objective.size=bytes", "quantize.bits=[2, 4, 8, 16]")
STEEP = ("hard_concrete", "objective.gate_learning_rate=0.2")  # Gates go step by step.
PRICED = (*((name,) for name in STRATEGIES), NARROW, BITS, STEEP)
CHANGES = ("objective.strategy=none", "objective.budget=", "model.num_layers=1")
CHANGES += ("train.save_every_steps=5", "train.spike_factor=3.0")


class Setter:
    """Sets attributes for good: the process is there for this run only."""

    setattr = staticmethod(setattr)


def go_bad(bench: Bench, random: Random, i: int) -> str:
    """Has one step, or two, of a run go wrong."""
    policy = ("skip", "rollback", "stop")[i % 3]
    steps = random.sample(range(13, 24), random.choice((1, 2)))
    faults = {step: random.randrange(1, len(FACTORS)) for step in sorted(steps)}
    workdir = bench.folder / "bad"
    shutil.rmtree(workdir, ignore_errors=True)
    fork = bench.train(
        workdir,
        *CHANGES,
        f"train.on_bad_step={policy}",
        before=lambda: poison(Setter, faults),
    )
    code, text = fork.wait(), fork.text
    case = f"{policy} at {faults}"
    if "Traceback" in text:
        return f"{case}: {text[-300:]!r}"
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    names = sorted(p.name for p in (workdir / "checkpoints").iterdir())
    if policy == "stop":
        held = code == 3 and f"At step {min(faults)}" in text and bool(names)
        return "" if held else f"{case}: {code} {text[-300:]!r}"
    if code:
        return f"{case}: {code} {text[-300:]!r}"
    train = json.loads((workdir / "report.json").read_text())["train"]
    told = [f"At step {step}," in text for step in faults]
    wrong = []
    wrong += [] if all(told) else ["not told"]
    wrong += [] if train["bad_steps"] == len(faults) else [str(train)]
    wrong += [] if entries[-1]["bad_steps"] == len(faults) else ["not logged"]
    back = len(faults) if policy == "rollback" else 0
    wrong += [] if train["rollbacks"] == back else ["rollbacks"]
    wrong += [] if all(entry["loss"] < 10 for entry in entries) else ["loss"]
    wrong += [] if _keeps_best(workdir) else ["the best is gone"]
    return f"{case}: {wrong}" if wrong else ""


def _keeps_best(workdir) -> bool:
    """Whether a checkpoint with a finite validation error is there, and is finite."""
    errors = []
    for path in (workdir / "checkpoints").glob("*/manifest.json"):
        errors.append(json.loads(path.read_text()).get("valid_error"))
    return any(isinstance(error, float) for error in errors)


def price_out(bench: Bench, random: Random, i: int) -> str:
    """Sets a price that no unit is worth."""
    strategy, *more = PRICED[i % len(PRICED)]
    alpha = 10.0 ** random.randint(1, 9)
    minima = i // len(PRICED) % 2 == 1
    changes = [f"objective.strategy={strategy}", "objective.budget=", *more]
    changes += [f"objective.alpha={alpha}", "resize.max_fraction=1.0"]
    changes += ["resize.max_kind_fraction=1.0"]
    if minima:
        changes += ["resize.min_kv_heads=1", f"resize.min_mlp_dim={MLP_DIM}"]
        changes += ["resize.min_layers=1"]
    workdir = bench.folder / "priced"
    shutil.rmtree(workdir, ignore_errors=True)
    fork = bench.train(workdir, *changes)
    code, text = fork.wait(), fork.text
    case = f"{changes}"
    if code:
        return f"{case}: {code} {text[-400:]!r}"
    wrong = _too_small(workdir, minima=minima) or _not_packed(workdir)
    if wrong:
        return f"{case}: {wrong}"
    log = workdir.with_suffix(".use.log")
    for argv in (
        ["generate", f"--workdir={workdir}", "--prompt=a", "--max_new_tokens=4"],
        ["evaluate", f"--workdir={workdir}"],
        ["inspect", str(workdir)],
        bench.argv(workdir, *changes),
    ):
        use = Fork(argv, log)
        if use.wait():
            return f"{case}: {argv[0]}: {use.text[-300:]!r}"
    return ""


def _too_small(workdir: Path, *, minima: bool) -> str:
    """Returns what is less than the minima allow, or has not gone without them."""
    layers = json.loads((workdir / "architecture.json").read_text())
    kept = [layer for layer in layers if layer["mlp"] or layer["attention"]]
    if not minima:
        return f"something stays: {kept}" if kept else ""
    small = [
        layer
        for layer in kept
        if (layer["mlp"] and layer["mlp_dim"] < MLP_DIM)
        or (layer["attention"] and layer["num_kv_heads"] < 1)
    ]
    return f"below the minima: {layers}" if small or not kept else ""


def _not_packed(workdir: Path) -> str:
    """Returns in what the exported file is not the model that the report tells of."""
    size = json.loads((workdir / "report.json").read_text())["size"]
    path = workdir / "model.packed.safetensors"
    weights = named_leaves(read_packed(path)).values()
    counts = sum(leaf.size for leaf in weights), path.stat().st_size
    told = size["params"], size["packed_file_bytes"]
    return "" if counts == told else f"the file has {counts}, the report {told}"


assert TINY.is_file()
NUMBERS = (
    Fault(
        "bad_steps",
        "NaN, infinities and leaps in loss and gradient; skip, rollback, stop",
        "policy obeyed and logged, best checkpoint kept",
        50,
        go_bad,
    ),
    Fault(
        "priced_out",
        "everything priced out (alpha 10 to 10^9), zero-width sublayers",
        "minima respected, model runs, saves, exports, loads, generates, is evaluated",
        30,
        price_out,
    ),
)
