"""What prices after compensation promise."""

import numpy as np
import pytest

from slimjax.compress.removal import Removal, damp, remove_groups, remove_units


def draw(num_inputs=7, width=4, seed=0):
    source = np.random.default_rng(seed)
    hidden = source.standard_normal((60, num_inputs)) @ source.standard_normal(
        (num_inputs, num_inputs)
    )
    slopes = source.standard_normal((30, width)) @ np.diag(np.arange(1.0, width + 1))
    weight = source.standard_normal((num_inputs, width))
    return hidden.T @ hidden / 60, weight, slopes.T @ slopes / 30


def refitted_cost(moment, weight, slope, gone):
    """Solves for the other rows anew, and returns what is lost all the same."""
    moment, kept = damp(moment, 0.002), np.setdiff1d(np.arange(len(weight)), gone)
    new = np.zeros_like(weight)
    own = moment[np.ix_(kept, kept)]
    new[kept] = np.linalg.solve(own, moment[kept] @ weight)
    change = new - weight
    return 0.5 * np.trace(change.T @ moment @ change @ slope)


def test_an_input_costs_what_is_lost_after_a_refit():
    moment, weight, slope = draw()
    for unit, cost in zip(*Removal(moment, weight, slope).costs(), strict=True):
        np.testing.assert_allclose(
            cost, refitted_cost(moment, weight, slope, [unit]), rtol=1e-6
        )


@pytest.mark.parametrize("blocks", [[1] * 7, [2, 3, 2], [7]])
def test_inputs_that_go_one_after_the_other_cost_what_all_of_them_cost(blocks):
    moment, weight, slope = draw()
    path = remove_units(Removal(moment, weight, slope), blocks)
    assert [len(units) for units in path.sets] == [0, *np.cumsum(blocks)]
    for units, nats in zip(path.sets, path.nats, strict=True):
        expected = refitted_cost(moment, weight, slope, units)
        np.testing.assert_allclose(nats, expected, rtol=1e-6, atol=1e-9)


def test_a_unit_that_another_one_replaces_costs_nearly_nothing():
    moment, weight, slope = draw()
    twice = np.append(np.arange(7), 3)
    path = remove_units(
        Removal(moment[np.ix_(twice, twice)], weight[twice], slope, 1e-9), [1]
    )
    assert path.sets[1][0] in (3, 7)
    assert path.nats[1] < 1e-6 * refitted_cost(moment, weight, slope, [3])


def test_sets_of_few_groups_are_compared_all():
    moment, weight, slope = draw(8)
    path = remove_groups(Removal(moment, weight, slope), [1] * 4, 4)
    pairs = [(a, b) for a in range(4) for b in range(a)]
    inputs = lambda groups: np.concatenate([[2 * g, 2 * g + 1] for g in groups])
    costs = [refitted_cost(moment, weight, slope, inputs(pair)) for pair in pairs]
    np.testing.assert_allclose(path.nats[2], min(costs), rtol=1e-6)
    assert set(path.sets[2]) == set(pairs[int(np.argmin(costs))])


def test_many_groups_go_one_after_the_other():
    moment, weight, slope = draw(12)
    path = remove_groups(Removal(moment, weight, slope), [2, 2, 2], 6)
    assert [len(groups) for groups in path.sets] == [0, 2, 4, 6]
    inputs = np.concatenate([[2 * g, 2 * g + 1] for g in path.sets[2]])
    expected = refitted_cost(moment, weight, slope, inputs)
    np.testing.assert_allclose(path.nats[2], expected, rtol=1e-6)


def test_without_any_input_all_is_lost():
    moment, weight, slope = draw()
    path = remove_groups(Removal(moment, weight, slope), [1] * 7, 7)
    whole = 0.5 * np.trace(weight.T @ damp(moment, 0.002) @ weight @ slope)
    np.testing.assert_allclose(path.nats[-1], whole, rtol=1e-6)
