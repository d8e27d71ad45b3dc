"""Does a model that halves itself while it learns beat one that was born small?

Run: python experiments/first_slim/run.py [--workdir=runs/first_slim] [--seeds=0,1,2]
    [--arms=slim49+teacher,scratch49+teacher]

Trains, on the recipe of configs/quickstart.py and nothing else:

- dense: never cut;
- slim49, slim30: cut on the way to 49 % and 30 % of the weights;
- scratch49, scratch30: fresh models in the shapes that the slim runs of the same seed
  ended in, for as many steps;
- slim49+teacher, scratch49+teacher: slim49, and a fresh model in the shape that it
  ended in, with the finished dense model of the same seed as teacher from step 0;
- dense-long, slim49-long, scratch49-long: three times as many steps, four seams after
  each of which what stays is refitted, and no sublayer goes whole (LONG);
- dense=, scratch49=, scratch30=: the first arms, for as many steps as spend the FLOPs
  that the slim run (slim49 for dense) spent in all, probes included.

All arms have the recipe's learning rate; --learning_rate runs all but the last three
with another one; --arms names some. Killed and started again, it goes on where it was.
Results are small JSON files in results/; table.py makes the README's table from them.
"""

import argparse
import json
import os
from pathlib import Path

from slimjax import fit
from slimjax.config import override, read_config

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
RATE = 2e-3
ARMS = ("slim49", "dense", "scratch49", "slim30", "scratch30")
ARMS += ("slim49+teacher", "scratch49+teacher")
ARMS += ("slim49-long", "dense-long", "scratch49-long")
EQUAL_FLOPS = {"scratch49=": "slim49", "scratch30=": "slim30", "dense=": "slim49"}
TEACHER = [("distill.weight", "0.5"), ("distill.temperature", "1.0")]
LONG = [("train.num_steps", "2400"), ("resize.first_step", "720")]
LONG += [("resize.every_steps", "160"), ("resize.max_seams", "4")]
LONG += [("resize.units", '["heads","kv_heads","mlp"]'), ("resize.refit_batches", "8")]
DENSE = [("objective.strategy", "none"), ("objective.budget", "")]


def main() -> None:
    parser = argparse.ArgumentParser(description="First slim")
    parser.add_argument("--workdir", type=Path, default=Path("runs/first_slim"))
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--learning_rate", type=float, default=RATE)
    parser.add_argument("--arms", default=",".join((*ARMS, *EQUAL_FLOPS)))
    flags = parser.parse_args()
    chosen = flags.arms.split(",")
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    for seed in seeds:
        for arm in filter(chosen.__contains__, ARMS):
            run_arm(arm, seed, flags.learning_rate, flags.workdir)
    if flags.learning_rate == RATE:
        for seed in seeds:
            for arm in filter(chosen.__contains__, EQUAL_FLOPS):
                run_arm(arm, seed, RATE, flags.workdir)


def run_arm(arm: str, seed: int, rate: float, workdir: Path) -> None:
    """Trains one arm, unless its result is there."""
    path = result_path(arm, seed, rate)
    if path.exists():
        return
    config = read_config(ROOT / "configs" / "quickstart.py")
    made = changes(arm, seed, rate)
    if arm.endswith("+teacher"):
        made += [*TEACHER, ("distill.teacher", find_teacher(seed, rate, workdir))]
    config = override(config, made)
    report = fit(config, workdir / path.stem)
    kept = ("error", "size", "train", "data", "seed", "config_hash", "state_hash")
    result = {"arm": arm, "learning_rate": rate} | {k: report[k] for k in kept}
    result |= {"architecture": report["stages"][-1]["architecture"]}
    result |= {"versions": report["versions"], "machine": report["machine"]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, report["error"], flush=True)


def find_teacher(seed: int, rate: float, workdir: Path) -> str:
    """Returns the folder of the dense run, trained anew if it is gone."""
    folder = workdir / result_path("dense", seed, rate).stem
    config = read_config(ROOT / "configs" / "quickstart.py")
    fit(override(config, changes("dense", seed, rate)), folder)
    return str(folder)


def changes(arm: str, seed: int, rate: float) -> list[tuple[str, str]]:
    """Returns what an arm changes in the recipe, its teacher apart."""
    made = [("seed", str(seed)), ("optim.learning_rate", str(rate))]
    made += LONG if arm.endswith("-long") else []
    if arm.startswith("slim"):
        budget = arm.removeprefix("slim")[:2]
        return [*made, ("objective.budget", f"{budget}%")]
    made += DENSE
    if arm.startswith("scratch"):
        slim = "slim" + arm.removeprefix("scratch").removesuffix("=")
        path = result_path(slim, seed, rate).with_suffix(".architecture.json")
        layers = read_result(slim, seed, rate)["architecture"]
        path.write_text(json.dumps(layers) + "\n")
        made += [("model.architecture", str(path))]
    if arm in EQUAL_FLOPS:
        made += [("train.num_steps", str(equal_steps(arm, seed)))]
    return made


def equal_steps(arm: str, seed: int) -> int:
    """Returns the steps in which an arm spends what its slim run spent in all."""
    spent = read_result(EQUAL_FLOPS[arm], seed)["train"]["flops_total"]
    base = read_result(arm.removesuffix("="), seed)
    return round(spent / base["train"]["flops_total"] * base["train"]["steps"])


def read_result(arm: str, seed: int, rate: float = RATE) -> dict:
    """Returns an arm's result."""
    return json.loads(result_path(arm, seed, rate).read_text())


def result_path(arm: str, seed: int, rate: float) -> Path:
    """Returns where an arm's result is kept."""
    name = arm.replace("=", "-equal-flops").replace("+", "-with-")
    return RESULTS / f"{name}-seed{seed}-lr{rate:g}.json"


if __name__ == "__main__":
    main()
