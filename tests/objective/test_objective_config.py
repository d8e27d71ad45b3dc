"""What a budget may look like, and what is answered to others."""

import pytest

from slimjax.config import build
from slimjax.errors import ConfigError
from slimjax.objective.config import ObjectiveConfig


@pytest.mark.parametrize(
    ("budget", "size"),
    [
        ("40%", 200.0),
        ("100k", 1e5),
        ("100K", 1e5),
        ("100 kB", 1e5),
        ("2M", 2e6),
        ("2MB", 2e6),
        ("1.5G", 1.5e9),
        ("1GB", 1e9),
        ("7B", 7e9),
        ("1MiB", 2.0**20),
        ("2e6", 2e6),
        (2_000_000.0, 2e6),
    ],
)
def test_a_budget_takes_the_usual_suffixes(budget, size):
    config = ObjectiveConfig("exchange", "bytes", budget=budget)
    assert config.budget_size(500.0) == size


@pytest.mark.parametrize("budget", ["lots", "2X", "2m", "M", "-1M", "0", "1e", "2 M B"])
def test_another_budget_is_answered_with_the_suffixes(budget):
    with pytest.raises(ConfigError, match=r"k, M, G or B .* '40%'\.") as error:
        ObjectiveConfig("exchange", "bytes", budget=budget)
    assert f"config.objective.budget={budget!r}" in str(error.value)


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"budget": "40%"}, "config.objective.budget=''"),
        ({"alpha": 0.1}, "config.objective.alpha=0"),
        ({"budgets": {"bytes": "40%"}}, "config.objective.budgets={}"),
    ],
)
def test_dense_training_names_the_setting_to_take_back(asked, remedy):
    with pytest.raises(ConfigError) as error:
        ObjectiveConfig("none", **asked)
    assert f"Set {remedy}, or" in str(error.value)


def test_the_former_name_of_a_setting_is_taken_with_a_hint(caplog):
    config = build(ObjectiveConfig, {"units": "bits"}, "config.former")
    assert config.report_in == "bits"
    hint = "config.former.units is now called config.former.report_in."
    assert [record.getMessage() for record in caplog.records] == [hint]
    with pytest.raises(ConfigError, match="Set one of them"):
        build(ObjectiveConfig, {"units": "bits", "report_in": "nats"}, "config.former")
