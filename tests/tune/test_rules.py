"""Rules: what each of them says of curves whose answers are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.metrics.frontier import lower_hull
from slimjax.tune.curve import Curve
from slimjax.tune.pooled import Errors
from slimjax.tune.rules import RULES, WITH_NUMBER, parse_rule


def make_curve(
    errors, sizes=None, covariance=None, text_targets=1000.0, bits=None, folds=3
):
    sizes = sizes or tuple(float(2 ** (len(errors) - i)) for i in range(len(errors)))
    known = Errors(tuple(errors), covariance, None, 9, folds)
    bits = bits or tuple(8 * size for size in sizes)
    return Curve(tuple(sizes), sizes[0], known, bits, text_targets)


CURVES = st.lists(st.floats(0.5, 5.0), min_size=2, max_size=8).map(make_curve)


@given(CURVES, st.floats(0, 20))
def test_a_price_chooses_a_point_of_the_hull(curve, alpha):
    number = parse_rule(f"alpha={alpha!r}").choose(curve)
    axes = list(zip(curve.fractions, curve.errors.values, strict=True))
    cost = lambda i: alpha * axes[i][0] + axes[i][1]
    assert cost(number) == min(map(cost, range(len(axes))))
    assert cost(number) == pytest.approx(min(map(cost, lower_hull(axes))))


@given(CURVES)
def test_a_free_size_takes_the_least_error_and_a_dear_one_the_least_size(curve):
    assert parse_rule("alpha=0").choose(curve) == curve.least
    assert parse_rule("alpha=1e9").choose(curve) == len(curve.sizes) - 1


@given(CURVES)
def test_description_length_is_a_price_of_one_bit_for_one_bit(curve):
    # alpha of a whole start, in nats per target, that is one bit a bit.
    alpha = curve.model_bits[0] * math.log(2) / curve.text_targets
    totals = [m + t for m, t in zip(curve.model_bits, curve.text_bits, strict=True)]
    by_length = parse_rule("description_length").choose(curve)
    by_price = parse_rule(f"alpha={alpha!r}").choose(curve)
    assert totals[by_length] == min(totals)
    assert totals[by_price] == pytest.approx(totals[by_length])


def test_one_standard_error_is_that_of_the_difference():
    # Errors vary by 1 each, but together: their differences vary by 0.01 alone.
    covariance = [[1.0, 0.99995], [0.99995, 1.0]]
    rule = parse_rule("one_standard_error")
    assert rule.choose(make_curve((1.0, 1.009), covariance=covariance)) == 1
    assert rule.choose(make_curve((1.0, 1.011), covariance=covariance)) == 0


def test_without_a_standard_error_there_is_no_such_rule():
    with pytest.raises(ConfigError, match="no standard error"):
        parse_rule("one_standard_error").choose(make_curve((1.0, 1.1)))
    one_fold = make_curve((1.0, 1.1), covariance=[[1.0, 0.9], [0.9, 1.0]], folds=1)
    with pytest.raises(ConfigError, match="with --folds=1: there is no standard error"):
        parse_rule("one_standard_error").choose(one_fold)


def test_a_size_that_no_point_has_is_told_with_the_nearest():
    curve = make_curve((1.0, 1.2, 1.5))
    assert parse_rule("size_below=4").choose(curve) == 1
    with pytest.raises(NotFeasibleError, match=r"point2, 2, .* 1\.500"):
        parse_rule("size_below=1.5").choose(curve)


def test_a_knee_is_where_the_curve_turns_whatever_the_units():
    errors = (1.0, 1.01, 1.02, 2.0, 4.0)
    sizes = (16.0, 8.0, 4.0, 2.0, 1.0)
    other = tuple(1e6 * size for size in sizes)
    knee = parse_rule("knee")
    assert knee.choose(make_curve(errors, sizes)) == 2
    assert knee.choose(make_curve(tuple(3 * e for e in errors), other)) == 2


def test_an_error_of_nothing_is_the_least():
    knee = parse_rule("knee").choose(make_curve((0.0, 0.5, 1.0), (4.0, 2.0, 1.0)))
    assert knee in range(3)


def test_a_knee_of_a_flat_curve_is_some_point():
    assert parse_rule("knee").choose(make_curve((1.0, 1.0, 1.0))) in range(3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kneee", "Did you mean knee?"),
        ("alpha=-1", "0 or more"),
        ("alpha", "0 or more"),
        ("alpha=nan", "0 or more"),
        ("error_within=0", "above 0"),
        ("error_within=2x", "above 0"),
        ("size_below=-2M", "above 0"),
        ("knee=3", "has no number"),
    ],
)
def test_what_is_no_rule_is_refused(text, told):
    with pytest.raises(ConfigError, match=told):
        parse_rule(text)


def test_numbers_are_read_with_their_ends():
    assert parse_rule("size_below=2M").value == 2e6
    assert parse_rule("size_below=1.5KiB").value == 1536
    assert parse_rule("error_within=2%").value == pytest.approx(0.02)
    assert parse_rule("error_within=0.5").value == 0.5
    assert {*WITH_NUMBER} < {*RULES}
