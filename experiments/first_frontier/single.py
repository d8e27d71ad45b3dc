"""Is one model of 10 kB better when it was cut and rounded while it learned?

Run: python experiments/first_frontier/single.py [--workdir=runs/first_frontier]
    [--seeds=0,1,2] [--regimes=over,under]

`path` starts large; `exchange` cuts and rounds it to the budget early on. `scratch4` is
fresh, of the even shape that fills the budget with 4 bits everywhere, the best for it,
for as many steps as spend what the path spent in all. `over` trains until the final
model has had more than 500 tokens per parameter, `under` stops at about a tenth.
Killed and started again, it goes on where it was; table.py prints the table.
"""

import recipe
from run import Study, make_parser, studies

REGIMES = {"over": (4000, 300, 150), "under": (500, 60, 30)}
"""Steps of the path, its first seam, and from one seam to the next."""

LAST, BITS = len(recipe.BUDGETS) - 1, 4


def main() -> None:
    parser = make_parser("First frontier, one size")
    parser.add_argument("--regimes", default=",".join(REGIMES))
    flags = parser.parse_args()
    regimes = flags.regimes.split(",")
    if odd := [regime for regime in regimes if regime not in REGIMES]:
        parser.error(
            f"--regimes: {odd[0]!r} is unknown; known are {', '.join(REGIMES)}"
        )
    for study in studies(flags):
        for regime in regimes:
            compare(study, regime)


def compare(study: Study, regime: str) -> None:
    """Trains a path, and a fresh model that spends as much."""
    name = f"{regime}-path"
    study.train(name, recipe.single(*REGIMES[regime]), name, LAST)
    spent = study.read(name)["flops"]
    shape = recipe.best_shape(recipe.BUDGETS[LAST], BITS)
    steps = round(spent / recipe.step_flops(*shape))
    name = f"{regime}-scratch{BITS}"
    study.train(name, recipe.scratch(LAST, BITS, steps, 0.1), name, LAST)


if __name__ == "__main__":
    main()
