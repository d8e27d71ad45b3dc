"""Is one model of 10 kB better when it was cut and rounded while it learned?

Run: python experiments/first_frontier/single.py [--workdir=runs/first_frontier]
    [--seeds=0,1,2] [--regimes=over,under]

`path` starts large; `exchange` cuts and rounds it to the budget early on. `scratch4`
and `scratch3` are fresh, of the even shape that fills the budget with as many bits
everywhere, for as many steps as spend what the path spent in all. `over` trains until
the final model has had 500 tokens a parameter, `under` stops at a tenth of that. Killed
and started again, it goes on where it was; table.py prints the table.
"""

import argparse
from pathlib import Path

import recipe
from run import Study

REGIMES = {"over": 4000, "under": 500}
"""Steps of the path."""

LAST = len(recipe.BUDGETS) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description="First frontier, one size")
    parser.add_argument("--workdir", type=Path, default=Path("runs/first_frontier"))
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--regimes", default=",".join(REGIMES))
    flags = parser.parse_args()
    for seed in map(int, flags.seeds.split(",")):
        study = Study(flags.workdir / f"seed{seed}", seed)
        for regime in flags.regimes.split(","):
            compare(study, regime)


def compare(study: Study, regime: str) -> None:
    """Trains a path, and fresh models that spend as much."""
    name = f"{regime}-path"
    study.train(name, recipe.single(REGIMES[regime]), name, LAST)
    spent = study.read(name)["flops"]
    for bits in (4, 3):
        shape = recipe.best_shape(recipe.BUDGETS[LAST], bits)
        steps = round(spent / recipe.step_flops(*shape))
        name = f"{regime}-scratch{bits}"
        study.train(name, recipe.scratch(LAST, bits, steps, 0.1), name, LAST)


if __name__ == "__main__":
    main()
