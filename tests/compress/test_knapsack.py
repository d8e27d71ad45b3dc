"""What the choice under a budget promises."""

import itertools

import numpy as np
import pytest

from slimjax.compress.knapsack import Offers, choose


def draw(seed, num_lists=4):
    source = np.random.default_rng(seed)
    lists = []
    for _ in range(num_lists):
        num = source.integers(1, 6)
        sizes = np.sort(source.uniform(0.1, 5, num))[::-1]
        nats = np.sort(source.exponential(1, num))
        lists.append(Offers(nats, sizes))
    return lists


def totals(lists, chosen):
    pairs = list(zip(lists, chosen, strict=True))
    return sum(o.nats[k] for o, k in pairs), sum(o.sizes[k] for o, k in pairs)


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_best_of_all_choices(seed):
    """But for what rounding sizes up to the grid may hide."""
    lists = draw(seed)
    budget = 0.6 * sum(offers.sizes[0] for offers in lists)
    every = itertools.product(*(range(len(o.nats)) for o in lists))
    known = [totals(lists, chosen) for chosen in every]
    fitting = [nats for nats, size in known if size <= budget]
    chosen = choose(lists, budget)
    if not fitting:
        assert chosen is None
        return
    nats, size = totals(lists, chosen)
    assert size <= budget
    tighter = [n for n, s in known if s <= budget - 4 * budget / 20_000]
    assert nats <= min(tighter, default=np.inf) + 1e-12


def test_what_the_grid_leaves_over_is_used_up():
    lists = [Offers(np.array([0.0, 1.0]), np.array([1.0, 0.0]))] * 10
    chosen = choose(lists, budget=10.0, grid=9)
    assert chosen == [0] * 10


def test_a_budget_of_everything_changes_nothing():
    lists = draw(3)
    everything = sum(float(offers.sizes[0]) for offers in lists)
    chosen = choose(lists, everything * (1 + 1e-12))
    assert totals(lists, chosen)[0] == totals(lists, [0] * 4)[0]
