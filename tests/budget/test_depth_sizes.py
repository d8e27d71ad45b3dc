"""Sizes of models whose bits are being learned."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import models

from slimjax.budget.depths import depths_of, least_depths, make_depth_size_fn
from slimjax.budget.limits import Limits
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import is_shared
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
def test_more_depth_weighs_more_and_none_what_closed_units_weigh(config, measure):
    inventory, size_fn, depth_size_fn = sizes(config, measure)
    bits, gates = uniform_bits(inventory, 2), inventory.open_gates()
    depths = depths_of(bits)
    slope = flatten(jax.grad(lambda d: depth_size_fn(d) * 1.0)(depths))
    assert all((own >= 0).all() for own in slope.values())
    may_go = [key for key in bits if key in gates and not is_shared(key[-1])]
    closed = {key: np.zeros_like(gates[key]) for key in may_go}
    nothing = flatten(depths) | closed
    expected = float(size_fn(gates | closed, bits))
    slack = len(inventory.leaves) * (measure == "bytes")  # Rows begin with whole bytes.
    found = float(depth_size_fn(unflatten(nothing)))
    assert found == pytest.approx(expected, rel=1e-6, abs=slack)
    if may_go and measure != "kv_bytes":  # An MLP keeps no keys and values.
        assert found < float(depth_size_fn(depths))


def test_what_must_stay_keeps_the_fewest_bits():
    model = decoder(11, 8, (LayerConfig(6, 3, 4, 16),))
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 8}))
    least = least_depths(inventory, Limits(frozen=("*.attention",)), 2)
    assert least["layer_0", "mlp", "mlp"] == 0
    assert least["layer_0", "attention", "heads"] == 2
    assert least["tokens", "embedding"] == 2
    assert least["norm", "scale"] == 8
