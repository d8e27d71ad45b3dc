"""Is one path through sizes better than a fresh model for each size?

Run: python experiments/first_frontier/run.py [--workdir=runs/first_frontier]
    [--seeds=0,1,2] [--families=path,taught,scratch4,...]

Families, each of three models within the budgets of `recipe`, packed file counted:

- path: one run from dense; cut and rounded by `exchange` on a plateau, healed, cut on;
  from each size a short decay branches off;
- taught: the same path, whose later pieces have the finished largest size as teacher;
- scratch4, scratch3, scratch2, scratch8: fresh models with as many bits everywhere, in
  the even shape that fills the budget; with "late", rounded in the decay only;
- pruned4: one dense run, cut by `taylor` to each budget, healed, then 4 bits; with
  "early", cut as early as path is;
- concrete8: `hard_concrete` towards each budget at 8 bits.

Every family but taught spends the training FLOPs that path spent in all; its steps are
set so. Killed and started again, it goes on where it was. Results are JSON files in
results/; table.py makes the README's table and the figure from them.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import recipe

from slimjax import fit
from slimjax.config import override, read_config

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
FAMILIES = ("path", "scratch4", "taught", "scratch3", "pruned4", "scratch2")
FAMILIES += ("scratch8", "pruned4early", "concrete8", "scratch4late", "scratch3late")
SIZES = range(len(recipe.BUDGETS))


def main() -> None:
    parser = make_parser("First frontier")
    parser.add_argument("--families", default=",".join(FAMILIES))
    flags = parser.parse_args()
    for study in studies(flags):
        for family in flags.families.split(","):
            study.run(family)


def make_parser(title: str) -> argparse.ArgumentParser:
    """Returns a parser of the flags that all parts of the study have."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--workdir", type=Path, default=Path("runs/first_frontier"))
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    return parser


def studies(flags: argparse.Namespace) -> Iterator["Study"]:
    """Yields one study a seed."""
    for seed in map(int, flags.seeds.split(",")):
        yield Study(flags.workdir / f"seed{seed}", seed)


class Study:
    """All families of one seed."""

    def __init__(self, workdir: Path, seed: int):
        self.workdir, self.seed = workdir, seed

    def run(self, family: str) -> None:
        """Trains the models of a family."""
        if family in ("path", "taught"):
            self.run_path(family)
        elif family in recipe.DENSE_STEPS:
            self.run_pruned(family)
        else:
            in_reach = SIZES[:2] if family == "concrete8" else SIZES
            for number in in_reach:  # At 8 bits, 48 channels alone are 13.7 kB.
                self.run_one(family, number)

    def run_path(self, family: str) -> None:
        """Trains trunk and branches; a teacher comes in after the largest size."""
        before, lessons = "", []
        for number in SIZES:
            name = f"{family}-trunk{number}"
            if family == "taught" and number == 0:
                name = "path-trunk0"  # Nobody teaches before the first size.
            made = recipe.trunk(number, before) + lessons
            before = self.train(name, made, family, None)
            name = f"{family}-{recipe.BUDGETS[number]}"
            if family == "taught" and number == 0:
                name = f"path-{recipe.BUDGETS[0]}"
            finished = self.train(
                name, recipe.branch(number, before) + lessons, family, number
            )
            if family == "taught" and number == 0:
                lessons = recipe.taught_by(finished)

    def run_pruned(self, family: str) -> None:
        dense_steps = recipe.DENSE_STEPS[family]
        start = self.train(f"{family}-dense", recipe.dense(dense_steps), family, None)
        left = self.path_flops() - self.read(f"{family}-dense")["flops"]
        for number in SIZES:
            steps = self.steps_for(
                left / len(SIZES), recipe.pruned, family, number, dense_steps, start
            )
            made = recipe.pruned(number, dense_steps, start, steps)
            self.train(f"{family}-{recipe.BUDGETS[number]}", made, family, number)

    def run_one(self, family: str, number: int) -> None:
        share = self.path_flops() / len(SIZES)
        name = f"{family}-{recipe.BUDGETS[number]}"
        if family == "concrete8":
            steps = self.steps_for(share, recipe.hard_concrete, family, number)
            made = recipe.hard_concrete(number, steps)
        else:
            bits = int(family.removeprefix("scratch").removesuffix("late"))
            width, mlp_dim = recipe.best_shape(recipe.BUDGETS[number], bits)
            steps = round(share / recipe.step_flops(width, mlp_dim))
            rounded_from = 0.6 if family.endswith("late") else 0.1
            made = recipe.scratch(number, bits, steps, rounded_from)
        self.train(name, made, family, number)

    def steps_for(self, share, make, family, number, *start) -> int:
        """Returns the steps that spend a share of FLOPs, for runs that get smaller.

        Some steps are run first, and their cost a step is taken.
        """
        few = 400  # So many that a seam's probes are not most of it.
        made = make(number, *start, few)
        name = f"{family}-{recipe.BUDGETS[number]}-pilot"
        self.train(name, made, family, None)
        return round(few * share / self.read(name)["flops"])

    def path_flops(self) -> float:
        """Returns the training FLOPs of all pieces of the path."""
        names = [f"path-trunk{n}" for n in SIZES]
        names += [f"path-{budget}" for budget in recipe.BUDGETS]
        return sum(self.read(name)["flops"] for name in names)

    def train(
        self, name: str, made: recipe.Changes, family: str, number: int | None
    ) -> str:
        """Trains one run, unless its result is there; returns its folder."""
        folder = self.workdir / name
        path = RESULTS / f"{name}-seed{self.seed}.json"
        if path.exists() and (folder / "report.json").exists():
            return str(folder)
        config = override(read_config(ROOT / "configs" / "tiny_test.py"), recipe.BASE)
        report = fit(override(config, [*made, ("seed", str(self.seed))]), folder)
        spent = report["train"]["flops_total"] - report["train"]["flops_inherited"]
        kept = ("error", "size", "train", "config_hash", "state_hash", "versions")
        result = {"name": name, "family": family, "seed": self.seed, "flops": spent}
        result |= {"budget": None if number is None else recipe.BUDGETS[number]}
        result |= {key: report[key] for key in (*kept, "machine")}
        last = report["stages"][-1]
        result |= {"architecture": last["architecture"]}
        tokens = report["train"]["tokens"] / report["train"]["steps"]
        result |= {"final_tokens": last["num_steps"] * tokens}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(name, self.seed, report["error"], report["size"]["bytes"], flush=True)
        return str(folder)

    def read(self, name: str) -> dict:
        """Returns a result."""
        return json.loads((RESULTS / f"{name}-seed{self.seed}.json").read_text())


if __name__ == "__main__":
    main()
