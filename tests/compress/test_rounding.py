"""What rounding by second order promises."""

import numpy as np
import pytest

from slimjax.compress.removal import shrink
from slimjax.compress.rounding import (
    round_columns,
    round_to_levels,
    rounding_nats,
)
from slimjax.compress.scales import fit_scales, group_squares
from slimjax.nn.grids import Grid
from slimjax.nn.quantize import codes_at, decode, spread

I, O = 150, 24


def draw(correlation, seed=0):
    source = np.random.default_rng(seed)
    shared = source.standard_normal((I, I)) * correlation + np.eye(I)
    hidden = source.standard_normal((4000, I)) @ shared
    hidden *= source.uniform(0.5, 2, I)
    weight = source.standard_normal((I, O)).astype(np.float32)
    return hidden.T @ hidden / 4000, weight


def steps_of(weight, moment, bits, group_size=0):
    """Returns the step of each element, groups along the inputs of an output."""
    counts = np.broadcast_to(np.diag(moment)[None], weight.T.shape)
    steps = fit_scales(weight.T, counts, bits, Grid(group_size)).steps
    return np.broadcast_to(spread(steps, I, group_size), (O, I)).T


def miss(weight, rounded, moment):
    change = rounded - weight
    return np.trace(change.T @ moment @ change)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_correlated_inputs_make_good_what_others_lose(bits):
    moment, weight = draw(0.3)
    steps = steps_of(weight, moment, bits)
    nearest = round_to_levels(weight, steps, bits)
    rounded = round_columns(weight, moment, steps, bits)
    assert miss(weight, rounded, moment) < 0.6 * miss(weight, nearest, moment)


def test_inputs_that_know_nothing_of_each_other_round_to_the_nearest():
    moment, weight = draw(0.0)
    moment = np.diag(np.diag(moment))
    steps = steps_of(weight, moment, 3)
    rounded = round_columns(weight, moment, steps, 3)
    np.testing.assert_array_equal(rounded, round_to_levels(weight, steps, 3))


def test_all_results_lie_on_levels():
    moment, weight = draw(0.3)
    steps = steps_of(weight, moment, 2)
    found = round_columns(weight, moment, steps, 2) / steps
    assert set(np.unique(np.round(found, 4))) == {-1.5, -0.5, 0.5, 1.5}


@pytest.mark.parametrize("group_size", [0, 32, 64])
def test_codes_tell_what_was_rounded(group_size):
    """Also where the last group is a short one."""
    moment, weight = draw(0.3)
    counts = np.broadcast_to(np.diag(moment)[None], weight.T.shape)
    steps = fit_scales(weight.T, counts, 3, Grid(group_size)).steps
    full = np.broadcast_to(spread(steps, I, group_size), (O, I)).T
    rows, bits = round_columns(weight, moment, full, 3).T, np.full(O, 3)
    codes = codes_at(rows, steps, bits, group_size)
    np.testing.assert_allclose(decode(codes, steps, bits, group_size), rows, rtol=1e-6)


def test_a_fitted_grid_is_no_worse_than_the_usual_one():
    moment, weight = draw(0.3)
    weight[:5] *= 4.0
    fitted = steps_of(weight, moment, 4, 32)
    unweighted = steps_of(weight, np.eye(I), 4, 32)
    own = np.diag(np.diag(moment))
    cost = lambda steps: miss(weight, round_to_levels(weight, steps, 4), own)
    assert cost(fitted) <= cost(unweighted)


@pytest.mark.parametrize("bits", [3, 4])
def test_the_price_of_bits_is_what_they_cost(bits):
    moment, weight = draw(0.3)
    slopes = np.linspace(0.5, 2.0, O)
    squares = group_squares(weight.T).T
    (nats,) = rounding_nats(weight, moment, slopes, squares, (bits,))
    steps = steps_of(weight, moment, bits)
    change = round_columns(weight, moment, steps, bits) - weight
    true = 0.5 * np.trace(change.T @ moment @ change * slopes)
    assert 0.7 < nats / true < 1.4


@pytest.mark.parametrize("bits", [2, 4])
def test_an_accelerator_rounds_as_the_host_does(bits, monkeypatch):
    """Sums are taken in another order, so that single numbers may go the other way."""
    moment, weight = draw(0.3)
    steps = steps_of(weight, moment, bits, 32)
    host = round_columns(weight, moment, steps, bits)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    np.testing.assert_allclose(steps_of(weight, moment, bits, 32), steps, rtol=1e-6)
    device = round_columns(weight, moment, steps, bits)
    assert np.mean(np.isclose(device, host)) > 0.97
    np.testing.assert_allclose(
        miss(weight, device, moment), miss(weight, host, moment), rtol=0.03
    )


def test_few_gradients_do_not_make_a_table_seem_cheap():
    """A table is rounded, and priced, by the moment of few gradients."""
    source = np.random.default_rng(0)
    mixed = source.standard_normal((I, I)) * 0.1 + np.eye(I)
    draw_slopes = lambda count: source.standard_normal((count, I)) @ mixed
    few, many = draw_slopes(48), draw_slopes(20_000)
    true, own = many.T @ many / len(many), few.T @ few / len(few)
    table = source.standard_normal((I, O)).astype(np.float32)

    def costs(moment):
        steps = steps_of(table, moment, 4)
        change = round_columns(table, moment, steps, 4) - table
        squares = group_squares(table.T).T
        (nats,) = rounding_nats(table, moment, np.ones(O), squares, (4,))
        return nats, 0.5 * np.trace(change.T @ true @ change)

    price, cost = costs(shrink(own, len(few)))
    raw_price, raw_cost = costs(own)
    assert 0.5 < price / cost < 2.0
    assert raw_price / raw_cost < 0.1
    assert cost < 0.8 * raw_cost


@pytest.mark.parametrize("group_size", [0, 64])
def test_the_largest_numbers_are_not_cut_off(group_size):
    """A few weights of pretrained models are far larger than all others."""
    _, weight = draw(0.0)
    weight[7] *= 40.0
    counts = np.ones_like(weight.T)
    steps = fit_scales(weight.T, counts, 8, Grid(group_size)).steps
    full = np.broadcast_to(spread(steps, I, group_size), (O, I))
    error = np.sum((round_to_levels(weight.T, full, 8) - weight.T) ** 2)
    assert error < 1e-3 * np.sum(weight**2)


@pytest.mark.parametrize("bits", [3, 4])
def test_a_minimum_helps_groups_that_lie_aside_of_zero(bits):
    _, weight = draw(0.0)
    rows, counts = np.abs(weight.T), np.ones_like(weight.T)
    errors = []
    for has_minimum in (False, True):
        grid = Grid(32, has_minimum=has_minimum)
        own = fit_scales(rows, counts, bits, grid)
        full = lambda x: 0.0 if x is None else spread(x, I, 32)
        middles = full(own.middles)
        rounded = round_to_levels(rows - middles, full(own.steps), bits) + middles
        errors.append(np.sum((rounded - rows) ** 2))
    assert errors[1] < 0.5 * errors[0]
