"""Sizes of models whose bits are being learned."""

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import models

from slimjax.budget.depths import depths_of, least_depths, make_depth_size_fn
from slimjax.budget.limits import Limits
from slimjax.models import LayerConfig, decoder
from slimjax.nn.quantize import STATES
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten, unflatten


def sizes(config, measure, group_size=0):
    inventory = take_inventory(config.abstract_variables(), config.uses({"": 8}))
    size_fn = make_size_fn(measure, inventory, group_size)
    depth_size_fn = make_depth_size_fn(measure, size_fn, inventory, group_size)
    return inventory, size_fn, depth_size_fn


@settings(max_examples=5)
@given(models(), st.sampled_from(STATES), st.sampled_from([0, 3]))
def test_depths_at_their_states_weigh_what_bits_do(config, bits, group_size):
    inventory, size_fn, depth_size_fn = sizes(config, "bytes", group_size)
    own = uniform_bits(inventory, bits)
    expected = float(size_fn(inventory.open_gates(), own))
    # Rows of one key begin with a whole byte in the file, which no unit weighs.
    slack = len(inventory.leaves)
    assert float(depth_size_fn(depths_of(own))) == pytest.approx(expected, abs=slack)


@settings(max_examples=3)
@given(models(max_layers=2), st.sampled_from(["bytes", "params", "kv_bytes"]))
def test_more_depth_weighs_more_and_none_nothing(config, measure):
    inventory, _, depth_size_fn = sizes(config, measure)
    depths = depths_of(uniform_bits(inventory, 2))
    slope = flatten(jax.grad(lambda d: depth_size_fn(d) * 1.0)(depths))
    assert all((own >= 0).all() for own in slope.values())
    nothing = {
        k: own * (k not in inventory.gates) for k, own in flatten(depths).items()
    }
    assert depth_size_fn(unflatten(nothing)) <= depth_size_fn(depths)


def test_what_must_stay_keeps_the_fewest_bits():
    model = decoder(11, 8, (LayerConfig(6, 3, 4, 16),))
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 8}))
    least = least_depths(inventory, Limits(frozen=("*.attention",)), 2)
    assert least["layer_0", "mlp", "mlp"] == 0
    assert least["layer_0", "attention", "heads"] == 2
    assert least["tokens", "embedding"] == 2
    assert least["norm", "scale"] == 8
