"""What the report says of sizes and prices, whatever was asked for."""

import dataclasses

import pytest

from slimjax.config import override, read_config
from slimjax.run.blueprints import expected_blueprint
from slimjax.run.evaluation import Evaluation
from slimjax.run.finish import describe_sizes
from slimjax.train.config import make_run_config
from slimjax.train.history import History
from slimjax.train.pricing import prices_by_measure

BUDGETS = '{"bytes": "50%", "kv_bytes": "40%"}'


def make_blueprint(**objective):
    """Returns the blueprint of a start, and of a model of half its size."""
    changes = [(f"objective.{name}", value) for name, value in objective.items()]
    config = override(read_config("configs/tiny_test.py"), [("mesh.data", "1")])
    config = override(config, [("objective.budget", ""), *changes])
    blueprint = expected_blueprint(make_run_config(config))
    start = {name: 2 * size for name, size in blueprint.sizes.items()}
    return blueprint, dataclasses.replace(blueprint, given_start_sizes=start)


def describe(blueprint, history: History, part_of_bytes: float = 0.25):
    packed = round(part_of_bytes * blueprint.start_sizes["bytes"])
    return describe_sizes(blueprint, history, Evaluation(2.0, {}, 1), packed)


def test_the_complexity_has_the_price_of_each_measure():
    _, small = make_blueprint(budgets=BUDGETS)
    history = History(alpha=3.0, alphas={"bytes": 1.0, "kv_bytes": 2.0})
    found = describe(small, history)
    assert found["alpha"] == 3.0
    assert found["alphas"] == {"bytes": 1.0, "kv_bytes": 2.0}
    assert found["fractions"] == pytest.approx({"bytes": 0.25, "kv_bytes": 0.5}, 1e-3)
    assert found["complexity"] == pytest.approx(1.0 * 0.25 + 2.0 * 0.5 + 2.0, 1e-3)
    assert found["measure"] == "bytes"  # No budget is of parameters.


def test_one_measure_has_the_whole_price_whoever_wrote_the_checkpoint():
    _, small = make_blueprint(alpha="0.5", size="params")
    for history in (History(alpha=3.0), History(alpha=3.0, alphas={"params": 3.0})):
        found = describe(small, history)
        assert (found["measure"], found["alpha"]) == ("params", 3.0)
        assert found["complexity"] == pytest.approx(3.0 * 0.5 + 2.0)
    found = describe(small, History())
    assert (found["alpha"], found["alphas"], found["complexity"]) == (0.0, {}, 2.0)


def test_within_steps_the_tightest_budget_has_the_price():
    whole, small = make_blueprint(strategy="size_penalty", budgets=BUDGETS)
    found = prices_by_measure(whole, 3.0)
    assert found == {"bytes": 0.0, "kv_bytes": 3.0}
    sizes = {**small.sizes, "kv_bytes": 0.1 * small.start_sizes["kv_bytes"]}
    object.__setattr__(small, "sizes", sizes)
    assert prices_by_measure(small, 3.0) == pytest.approx(
        {"bytes": 3.0 * 0.4 / 0.5, "kv_bytes": 0.0}
    )
