"""What packed files promise whose groups lie along inputs, or have a middle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import pack, unpack
from shapes import make_variables, models

from slimjax.compress.scales import fit_scales
from slimjax.nn.grids import INPUT, UNIT, Grid, put_rows, take_rows
from slimjax.nn.packed_header import FORMATS
from slimjax.nn.packing import key_in
from slimjax.nn.quantize import FULL, STATES, bit_axis, uniform_precision
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten, unflatten

GRIDS = [
    Grid(group_size, axis, has_minimum)
    for group_size in (0, 3)
    for axis, has_minimum in ((INPUT, False), (UNIT, True), (INPUT, True))
]


def inventory_of(config):
    return take_inventory(config.abstract_variables(), config.uses({"": 16}))


def draw(data):
    """Returns weights, names and bits: all units of a key have the same ones."""
    config = data.draw(models(max_layers=2))
    source = np.random.default_rng(data.draw(st.integers(0, 99)))
    variables, names = make_variables(config)
    uniform = uniform_bits(inventory_of(config), FULL)
    bits = {k: np.full_like(own, source.choice(STATES)) for k, own in uniform.items()}
    return config, variables["params"], names["params"], bits


def place(weights, names, bits, grid):
    """Returns weights on their levels, and the scales of those that were rounded."""
    axes, scales, placed = flatten(names), {}, {}
    for path, weight in flatten(weights).items():
        own = bits[key_in(bits, path, axes[path])]
        axis, num_read = bit_axis(axes[path]), grid.num_read(axes[path])
        rows = take_rows(np.asarray(weight, np.float32), axis, num_read)
        if len(own) and own[0] < FULL and rows.size:
            scales[path] = fit_scales(rows, np.ones_like(rows), int(own[0]), grid)
            placed[path] = (rows, axis, num_read)
    return scales, placed


@given(st.data(), st.sampled_from(GRIDS))
@settings(max_examples=20)
def test_the_size_of_a_file_is_predicted(data, grid):
    config, weights, names, bits = draw(data)
    inventory = inventory_of(config)
    fit = uniform_precision(weights, names, FULL)["fit"]
    content = pack(weights, names, {"bits": unflatten(bits), "fit": fit}, grid)
    size_fn = make_size_fn("bytes", inventory, grid)
    predicted = float(size_fn(inventory.open_gates(), bits))
    assert len(content) <= predicted <= 1.01 * len(content) + 180


@given(st.data(), st.sampled_from(GRIDS))
@settings(max_examples=20)
def test_weights_on_their_levels_come_back(data, grid):
    _, weights, names, bits = draw(data)
    fit = uniform_precision(weights, names, FULL)["fit"]
    precision = {"bits": unflatten(bits), "fit": fit}
    scales, placed = place(weights, names, bits, grid)
    once = unpack(pack(weights, names, precision, grid, scales))
    again = unpack(pack(once, names, precision, grid, scales))
    found, second = flatten(once), flatten(again)
    assert found.keys() == flatten(weights).keys()
    for path, weight in found.items():
        np.testing.assert_allclose(second[path], weight, rtol=1e-5, atol=1e-7)
    for path, (rows, axis, num_read) in placed.items():
        own = take_rows(found[path], axis, num_read)
        assert np.sum((own - rows) ** 2) < np.sum(rows**2) + 1e-9


def test_rows_are_those_of_outputs():
    weight = np.arange(24.0).reshape(2, 3, 4)  # Heads, their width, the stream.
    rows = take_rows(weight, 0, 2)
    assert rows.shape == (4, 6)
    np.testing.assert_array_equal(rows[1], weight.reshape(6, 4)[:, 1])
    np.testing.assert_array_equal(put_rows(rows, 0, 2, weight.shape), weight)


def test_units_that_one_output_reads_must_have_equal_bits():
    weights = {"mlp": {"down": np.ones((4, 3), np.float32)}}
    names = {"mlp": {"down": ("mlp", "embed")}}
    bits = {"mlp": {"mlp": np.array([2, 4, 4, 4])}}
    fit = {"mlp": {"down": np.ones(4, np.float32)}}
    with pytest.raises(ValueError, match="different bits"):
        pack(weights, names, {"bits": bits, "fit": fit}, Grid(2, INPUT))


def test_plain_files_have_the_format_that_they_had():
    weights = {"mlp": {"down": np.ones((4, 3), np.float32)}}
    names = {"mlp": {"down": ("mlp", "embed")}}
    assert FORMATS[0].encode() in pack(weights, names)
    assert FORMATS[1].encode() in pack(weights, names, grid=Grid(2, INPUT))
