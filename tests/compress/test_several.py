"""What a choice within several budgets promises."""

import itertools

import numpy as np
import pytest
from compress.tiny import draw_rows, make_decoder

from slimjax.budget.limits import Limits
from slimjax.compress.bit_prices import price_bits
from slimjax.compress.curves import make_curves
from slimjax.compress.knapsack import Offers, choose
from slimjax.compress.moments import collect
from slimjax.compress.offers import Catalogue
from slimjax.compress.several import Catalogues, Part, choose_within_all
from slimjax.nn.quantize import FULL
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten


def draw(seed, num_parts, num_offers, num_measures=2):
    """Returns parts whose sizes differ between measures."""
    source = np.random.default_rng(seed)
    parts = []
    for _ in range(num_parts):
        nats = np.sort(source.exponential(1, num_offers))
        sizes = -np.sort(-source.uniform(0.1, 1, (num_measures, num_offers)))
        parts.append(Part(nats, sizes * source.uniform(0.5, 2, (num_measures, 1))))
    totals = sum(part.sizes[:, 0] for part in parts)
    scale = 1 / (totals * source.uniform(0.5, 0.8, num_measures))
    return [Part(p.nats, p.sizes * scale[:, None]) for p in parts]


def totals(parts, numbers):
    pairs = list(zip(parts, numbers, strict=True))
    sizes = np.sum([p.sizes[:, k] for p, k in pairs], axis=0)
    return sum(p.nats[k] for p, k in pairs), sizes


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_measures", [2, 3])
def test_all_budgets_are_kept_to(seed, num_measures):
    parts = draw(seed, 5, 5, num_measures)
    numbers = choose_within_all(parts)
    every = itertools.product(range(5), repeat=len(parts))
    fitting = [n for n, s in (totals(parts, k) for k in every) if s.max() <= 1]
    if not fitting:
        assert numbers is None
        return
    nats, sizes = totals(parts, numbers)
    assert sizes.max() <= 1
    assert nats <= 1.5 * min(fitting) + 1e-12


def test_with_many_parts_it_is_nearly_the_best():
    """Not below the bound that one budget alone gives, and not far above."""
    parts = draw(0, 60, 20)
    numbers = choose_within_all(parts)
    nats, sizes = totals(parts, numbers)
    assert sizes.max() <= 1
    bounds = []
    for weight in np.linspace(0, 1, 11):
        prices = np.array([weight, 1 - weight])
        lists = [Offers(p.nats, prices @ p.sizes) for p in parts]
        bounds.append(totals(parts, choose(lists, 1.0))[0])
    assert max(bounds) * 0.999 <= nats <= 1.05 * max(bounds)


def test_one_measure_is_as_by_itself():
    parts = draw(1, 6, 6, num_measures=1)
    numbers = choose_within_all(parts)
    alone = choose([Offers(p.nats, p.sizes[0]) for p in parts], 1.0)
    assert totals(parts, numbers)[0] == totals(parts, alone)[0]


@pytest.fixture(scope="module")
def catalogues():
    model, variables, walk = make_decoder()
    moments = collect(walk, variables, draw_rows(30), num_slope_rows=10)
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 9}))
    weights, states = flatten(variables["params"]), (FULL, 8, 4, 2)
    bit_nats = price_bits(weights, inventory, moments, states, 16)
    curves = make_curves(weights, inventory.open_gates(), moments, Limits())

    def weigh(measure):
        size_fn = make_size_fn(measure, inventory, 16)
        parts = inventory, curves, size_fn, states, bit_nats
        return Catalogue(*parts, is_finer=False, keeps_all=True)

    return {measure: weigh(measure) for measure in ("bytes", "flops", "kv_bytes")}


def choose_from(catalogue, limit):
    choice = catalogue.choose(limit)
    assert choice is not None
    return choice


def test_a_model_is_within_both_budgets_and_costs_more_than_with_one(catalogues):
    both = Catalogues({n: catalogues[n] for n in ("bytes", "flops")})
    wanted = {"bytes": 0.4, "flops": 0.7}
    limits = {n: part * catalogues[n].whole for n, part in wanted.items()}
    choice = choose_from(both, limits)
    sizes = both.sizes(choice)
    for name, limit in limits.items():
        assert sizes[name] <= limit
        alone = choose_from(catalogues[name], limit)
        assert alone.nats <= choice.nats + 1e-9
        assert both.sizes(alone) != sizes
    assert max(sizes[n] / limits[n] for n in limits) > 0.97


def test_a_budget_that_binds_nothing_changes_nothing(catalogues):
    both = Catalogues({n: catalogues[n] for n in ("bytes", "kv_bytes")})
    limit = 0.5 * catalogues["bytes"].whole
    limits = {"bytes": limit, "kv_bytes": catalogues["kv_bytes"].whole}
    choice = choose_from(both, limits)
    alone = choose_from(catalogues["bytes"], limit)
    assert choice.nats <= 1.02 * alone.nats


def test_what_cannot_be_met_is_none(catalogues):
    both = Catalogues({n: catalogues[n] for n in ("bytes", "flops")})
    limits = {"bytes": catalogues["bytes"].whole, "flops": 1.0}
    assert both.choose(limits) is None
    assert both.least().keys() == limits.keys()
