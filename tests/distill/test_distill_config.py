"""Settings that cannot be meant are refused, each in one line."""

import pytest

from slimjax.config import override, read_config
from slimjax.distill.config import DistillConfig
from slimjax.errors import ConfigError
from slimjax.train.config import make_run_config


@pytest.mark.parametrize(
    ("name", "value"),
    [("weight", 1.5), ("temperature", 0.0), ("first_step", -1), ("decay_fraction", 2)],
)
def test_wild_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"config\.distill\.{name}={value}"):
        DistillConfig(teacher="runs/dense", **{name: value})


def test_without_a_cut_nobody_teaches_from_the_first_one():
    changes = [("objective.strategy", "none"), ("objective.budget", "")]
    changes += [("distill.teacher", "start")]
    config = override(read_config("configs/tiny_test.py"), changes)
    with pytest.raises(ConfigError, match="no seams"):
        make_run_config(config)


def test_a_weight_of_nothing_is_no_teacher():
    assert not DistillConfig(teacher="runs/dense", weight=0.0).is_on
    assert not DistillConfig().is_on
    assert DistillConfig(teacher="start").is_on
