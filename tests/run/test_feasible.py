"""What cannot be met is refused in one line, before anything is compiled."""

import pytest

from slimjax.config import override, read_config
from slimjax.data.dataset import Field, Outline
from slimjax.errors import ConfigError
from slimjax.run.blueprints import expected_blueprint, make_blueprint
from slimjax.run.feasible import check_budget
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import make_run_config

ENCODER = [("task", "mlm"), ("model.kind", "encoder"), ("mesh.data", "1")]
PRICED = ("objective.budget", ""), ("objective.alpha", "0.1")
DENSE = ("objective.budget", ""), ("objective.strategy", "none")


def check(*changes: tuple[str, str]) -> None:
    config = override(read_config("configs/tiny_test.py"), list(changes))
    check_budget(expected_blueprint(make_run_config(config)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ([("objective.size", "kv_bytes")], "size='kv_bytes'"),
        ([("objective.size", "kv_bytes"), *PRICED], "size='kv_bytes'"),
        ([("objective.size", "kv_bytes"), *DENSE], "size='kv_bytes'"),
        (
            [("objective.size", "0.5*params+0.5*kv_bytes")],
            "size='0.5*params+0.5*kv_bytes'",
        ),
        (
            [
                ("objective.budget", ""),
                ("objective.budgets", '{"params": "60%", "kv_bytes": "50%"}'),
            ],
            r"budgets={'params': '60%', 'kv_bytes': '50%'}",
        ),
    ],
)
def test_a_cache_is_not_counted_in_a_model_that_keeps_none(changes, named):
    with pytest.raises(ConfigError) as caught:
        check(*ENCODER, *changes)
    assert str(caught.value) == (
        f"config.objective.{named}: this model has no kv_bytes: it keeps no cache of "
        "keys and values. Take params, flops or bytes."
    )


PERCEPTRON = make_run_config(
    {
        "task": "classification",
        "model": {"kind": "mlp", "width": 8},
        "objective": {"strategy": "exchange", "size": "latency", "budget": "50%"},
        "resize": {"every_steps": 1},
        "train": {"num_steps": 4},
    }
)


def without_vocabulary() -> Blueprint:
    fields = {"features": Field((5,), "float32", (None,))}
    sizes = {"features": 5, "classes": 3}
    return make_blueprint(PERCEPTRON, Outline(fields, sizes, {}, {}))


def test_no_time_of_a_token_is_asked_of_a_model_that_makes_none():
    with pytest.raises(ConfigError, match="Take 'flops'") as caught:
        check_budget(without_vocabulary())
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="size='latency'"):
        check(*ENCODER, ("objective.size", "0.5*params+0.5*latency"))
    with pytest.raises(ConfigError, match="size='latency'"):
        check(("mesh.data", "1"), ("model.window", "4"), ("objective.size", "latency"))
    check(("mesh.data", "1"), ("objective.size", "latency"))


@pytest.mark.parametrize("strategy", ["exchange", "learned_bits"])
def test_bits_to_choose_from_have_one_for_norms(strategy):
    changes = [("mesh.data", "1"), ("objective.size", "bytes")]
    changes += [("objective.strategy", strategy), ("objective.budget", "30%")]
    with pytest.raises(ConfigError) as caught:
        check(*changes, ("quantize.bits", "[4,2]"))
    assert str(caught.value) == (
        "config.quantize.bits=[4, 2] leaves no choice for norms and biases, which have "
        "8 bits or more. Set config.quantize.bits=[8, 4, 2]."
    )
    check(*changes, ("quantize.bits", "[8,4,2]"))
    check(*changes, ("quantize.bits", "[16,4,2]"))


def test_measures_that_a_model_has_are_counted():
    check(*ENCODER)
    check(("mesh.data", "1"), ("objective.size", "0.5*params+0.5*kv_bytes"))
