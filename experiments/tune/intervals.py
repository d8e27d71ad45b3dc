"""Are the intervals right? Three points of a tiny config, refitted with other seeds.

Run: python experiments/tune/intervals.py [--workdir=runs/tune] [--refits=20]

Each refit is a tune with another seed of weights and order. The mean of all differences
between two neighbours stands for the truth; it should lie in 95 % of the intervals.
"""

import recipe

from slimjax.config import override, read_config
from slimjax.run.progress import Display
from slimjax.store.files import write_json
from slimjax.train.devices import prepare_devices
from slimjax.tune.curve import read_curve
from slimjax.tune.preparing import prepare
from slimjax.tune.request import Request
from slimjax.tune.tuning import Tuner

SIZES, STEPS, COST = "100%,80%,60%", "120", 6.0


def main() -> None:
    parser = recipe.make_parser(__doc__)
    parser.add_argument("--refits", type=int, default=20)
    flags = parser.parse_args()
    prepare_devices()
    differences, halves = [], []
    for seed in range(flags.refits):
        curve = read_curve(tune(flags.workdir / "intervals" / f"seed{seed}", seed))
        pairs = [(k + 1, k) for k in range(len(curve.sizes) - 1)]
        values = curve.errors.values
        differences.append([values[i] - values[j] for i, j in pairs])
        halves.append([curve.errors.half_width(i, j) for i, j in pairs])
    by_pair = [zip(*values, strict=True) for values in (differences, halves)]
    result = [describe(*columns) for columns in zip(*by_pair, strict=True)]
    write_json(recipe.RESULTS / "intervals.json", {"pairs": result})


def tune(root, seed: int):
    """Returns the ``tune.json`` of one refit."""
    changes = [("seed", str(seed)), ("train.num_steps", STEPS)]
    changes += [("train.eval_every_steps", "0"), ("train.save_every_steps", "0")]
    config = override(read_config(recipe.ROOT / "configs" / "tiny_test.py"), changes)
    request = Request(sizes=SIZES, folds=recipe.FOLDS, cost=COST)
    with Display(quiet=True) as display:
        prepared = prepare(config, request, root, display)
    return Tuner(prepared, root, quiet=True).walk_folds()


def describe(differences, halves):
    """Returns how many intervals of one pair hold the mean difference."""
    truth = sum(differences) / len(differences)
    pairs = list(zip(differences, halves, strict=True))
    return {
        "mean_difference": truth,
        "inside": sum(abs(value - truth) <= half for value, half in pairs),
        "of": len(pairs),
        "mean_half_width": sum(halves) / len(halves),
    }


if __name__ == "__main__":
    main()
