"""A tune of a classifier: folds by label, errors by example, one page.

Run: python experiments/tune/classes.py --corpus=zh='csv:reviews.csv'
    [--workdir=runs/tune] [--num_steps=400]

The source has the fields ``text`` and ``label``. All else is that of
``configs/classification.py``, with splits drawn by class.
"""

import math
from typing import Any

import recipe
from run import judge

from slimjax.config import override, read_config
from slimjax.run.progress import Display
from slimjax.store.files import write_json
from slimjax.train.devices import prepare_devices
from slimjax.tune.answer import Answer, answer
from slimjax.tune.preparing import prepare
from slimjax.tune.request import Request
from slimjax.tune.tuning import Tuner

SMALLEST = "15%"
"""Not a tenth: the table of tokens in 2 bits is an eighth of the model already."""

RULES = tuple(f"alpha={alpha:g}" for alpha in (0.003, 0.01, 0.03, 0.1, 0.3))


def main() -> None:
    flags = recipe.make_parser(__doc__).parse_args()
    prepare_devices()
    for name, source in recipe.list_corpora(flags):
        config = read_config(recipe.ROOT / "configs" / "classification.py")
        changes = [("data.source", source), ("data.stratify", "true")]
        changes += [("data.test_fraction", "0.2"), ("train.eval_every_steps", "0")]
        config = override(config, [*changes, ("train.num_steps", str(flags.num_steps))])
        request = Request(
            points=recipe.POINTS,
            folds=recipe.FOLDS,
            cost=recipe.COST,
            smallest=SMALLEST,
        )
        root = flags.workdir / name
        with Display() as display:
            prepared = prepare(config, request, root, display)
        content = Tuner(prepared, root).walk_folds()
        chosen = answer(content, content["rule"])
        result = {
            "task": name,
            "rule": content["rule"],
            "answer": chosen.as_dict(),
            "chosen": judge_choice(content, chosen),
            "prices": [judge(content, rule) for rule in RULES],
        }
        write_json(recipe.RESULTS / f"{name}-classes.json", result)
        write_json(recipe.RESULTS / f"{name}-tune.json", content)


def judge_choice(content: dict[str, Any], chosen: Answer) -> dict[str, Any]:
    """Returns how near the default rule's choice is to the best one by the test split.

    The rule has no price, and thus no complexity. The choice is judged at the price
    that it implies; if no price chooses it, it has none.
    """
    row = {"rule": content["rule"], "chosen": chosen.point["name"]}
    if chosen.prices is None:
        is_end = chosen.number in (0, len(content["points"]) - 1)
        return row | {"is_end": is_end, "above_best": None}
    return judge(content, f"alpha={imply_price(*chosen.prices)!r}") | row


def imply_price(low: float, high: float) -> float:
    """Returns a price between two: their geometric mean, or half or twice the one."""
    if high == math.inf:
        return 2 * low
    return math.sqrt(low * high) if low else high / 2


if __name__ == "__main__":
    main()
