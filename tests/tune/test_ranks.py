"""Arms are ranked by a metric of the validation split; names decide what is equal."""

import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.train.config import make_run_config
from slimjax.tune.ranks import find_ranking, rank, round_digits

TINY = read_config("configs/tiny_test.py")
TEXT = make_run_config(TINY)


def labelled(*changes: tuple[str, str]):
    config = override(read_config("configs/classification.py"), changes)
    return make_run_config(config)


def test_the_headline_is_the_default_and_knows_which_is_better():
    assert find_ranking(TEXT, "")[::2] == ("valid_bits_per_byte", "low")
    assert find_ranking(labelled(), "").better == "high"
    many = labelled(("head.multi_label", "true"))
    assert find_ranking(labelled(), "").name != find_ranking(many, "").name
    assert find_ranking(TEXT, "valid_nats_per_target").better == "low"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_bits_per_byte", "is of the test split.*Did you mean valid_bits_per_b"),
        ("valid_bits_per_bite", "Did you mean valid_bits_per_byte"),
        ("bits_per_byte", "Did you mean valid_bits_per_byte"),
        ("params", "is not a metric of config.task='lm'. Known: valid_"),
    ],
)
def test_other_metrics_are_refused(name, told):
    with pytest.raises(ConfigError, match=told):
        find_ranking(TEXT, name)


def test_the_best_are_first_and_names_decide_what_four_digits_cannot():
    values = {"b": 1.23441, "a": 1.23449, "c": 1.2334, "d": 1.2350}
    assert rank(values, "low") == ["c", "a", "b", "d"]
    assert rank(values, "high") == ["d", "a", "b", "c"]
    assert round_digits(123456.0) == 123500.0
    assert round_digits(float("inf")) == float("inf")
