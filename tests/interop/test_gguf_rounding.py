"""Rounding by second order loses less than rounding to the nearest, in each type."""

import gguf
import gguf_models as files
import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.interop.gguf_blocks import LEVELS
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_rounding import fit_blocks, round_to_blocks
from slimjax.interop.gguf_writing import write_gguf

ROWS, COLUMNS = 48, 96


@pytest.fixture
def inputs():
    """Returns inputs that depend on each other, some of them large."""
    random = np.random.default_rng(0)
    few = random.standard_normal((600, 24)) @ random.standard_normal((24, COLUMNS))
    few += 0.3 * random.standard_normal((600, COLUMNS))
    return (few * random.uniform(0.2, 3, COLUMNS)).astype(np.float32)


def nearest(weight, kind):
    type_ = gguf.GGMLQuantizationType[kind]
    return gguf.quants.dequantize(gguf.quants.quantize(weight, type_), type_)


def lost(inputs, weight, rounded):
    return float(np.square(inputs @ (weight - rounded).T).mean())


@pytest.mark.parametrize("kind", LEVELS)
def test_outputs_change_less_than_by_rounding_to_the_nearest(inputs, kind):
    weight = files.numbers((ROWS, COLUMNS), 1)
    moment = inputs.T @ inputs / len(inputs)
    blocks = round_to_blocks(weight, moment, kind)
    own = lost(inputs, weight, blocks.numbers())
    assert own < 0.5 * lost(inputs, weight, nearest(weight, kind))


@pytest.mark.parametrize("kind", LEVELS)
def test_grids_are_fitted_to_what_counts(kind):
    weight, counts = files.numbers((ROWS, COLUMNS), 1), np.ones(COLUMNS, np.float32)
    moment = np.diag(counts)
    own = round_to_blocks(weight, moment, kind).numbers()
    plain = np.square(weight - nearest(weight, kind)).mean()
    assert np.square(weight - own).mean() < (1.001 if kind == "Q8_0" else 0.95) * plain
    counts[:4] = 1e4
    heavy = round_to_blocks(weight, np.diag(counts), kind).numbers()
    error = np.square(weight - heavy)[:, :4].mean()
    assert error < np.square(weight - own)[:, :4].mean()


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_what_lies_on_a_lattice_stays_there(inputs, kind):
    weight = nearest(files.numbers((ROWS, COLUMNS), 2), kind)
    moment = inputs.T @ inputs / len(inputs)
    blocks = round_to_blocks(weight, moment, kind)
    np.testing.assert_allclose(blocks.numbers(), weight, atol=1e-6)


@pytest.mark.parametrize("kind", LEVELS)
def test_blocks_of_zeros_and_idle_inputs_are_rounded_too(kind):
    weight = files.numbers((8, 64), 3)
    weight[:, :32] = 0
    weight[3] = 0.25
    moment = np.zeros((64, 64), np.float32)
    numbers = round_to_blocks(weight, moment, kind).numbers()
    assert np.isfinite(numbers).all()
    assert not numbers[[0, 1, 2, 4], :32].any()
    steps, _ = fit_blocks(weight, np.diag(moment), kind)
    assert np.isfinite(steps).all()


def test_what_is_rounded_goes_into_a_file_as_it_is(tmp_path, inputs):
    layers = [(4, 2, COLUMNS)]
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", layers))
    name = "model.layers.0.mlp.down_proj.weight"
    moment = inputs.T @ inputs / len(inputs)
    blocks = {name: round_to_blocks(model.tensors[name].read(), moment, "Q4_0")}
    path = write_gguf(model, tmp_path / "copy.gguf", "Q4_0", blocks=blocks).path
    found = read_gguf(path).tensors[name]
    np.testing.assert_array_equal(found.read(), blocks[name].numbers())


def test_rows_that_are_no_whole_blocks_are_refused():
    with pytest.raises(ConfigError, match="rows of 40"):
        round_to_blocks(np.zeros((2, 40)), np.eye(40), "Q4_0")
