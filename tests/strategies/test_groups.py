"""What a unit's weights are."""

import numpy as np
from hypothesis import given
from shapes import models

from slimjax.nn.gates import SUBLAYER
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn, unit_sizes
from slimjax.strategies.groups import scale_units, unit_sums


def ones_of(inventory) -> dict:
    return {leaf.path: np.ones(leaf.shape) for leaf in inventory.leaves}


@given(models())
def test_a_unit_has_as_many_weights_as_its_closing_takes_off(config):
    inventory = take_inventory(config.abstract_variables(), config.uses({"": 8}))
    counts = unit_sums(inventory, ones_of(inventory))
    sizes = unit_sizes(make_size_fn("params", inventory), inventory.open_gates())
    assert set(counts) == {path for path in sizes if path[-1] != SUBLAYER}
    for path, count in counts.items():
        np.testing.assert_array_equal(count, sizes[path])


@given(models(max_layers=1))
def test_scaling_a_unit_scales_its_weights_and_no_others(config):
    inventory = take_inventory(config.abstract_variables(), config.uses({"": 8}))
    counts = unit_sums(inventory, ones_of(inventory))
    for path in counts:
        factors = np.ones(inventory.gates[path])
        factors[-1] = 0.0
        scaled = scale_units(inventory, ones_of(inventory), {path: factors})
        left = sum(w.sum() for w in scaled.values())
        total = sum(w.sum() for w in ones_of(inventory).values())
        assert total - left == counts[path][-1]
        assert unit_sums(inventory, scaled)[path][-1] == 0
