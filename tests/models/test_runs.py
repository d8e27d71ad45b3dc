"""What a loop over equal layers promises: the numbers of the same layers unrolled."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import make_variables

from slimjax.models import LayerConfig, ModelConfig, decoder
from slimjax.models.runs import is_scanned, runs_of, scanned_runs, stack, unstack
from slimjax.nn import platforms
from slimjax.nn.quantize import PRECISION, uniform_precision
from slimjax.train.precision import quantized

WIDE, NARROW = LayerConfig(4, 2, 4, 9), LayerConfig(2, 1, 4, 5)
EMPTY = LayerConfig(0, 0, 4, 0, attention=False, mlp=False)
RAGGED = decoder(13, 8, (WIDE, WIDE, NARROW, NARROW, EMPTY, EMPTY, WIDE))
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 13, (2, 6)))
INPUTS = {"tokens": TOKENS}


def scanned(config: ModelConfig, **changes) -> ModelConfig:
    return dataclasses.replace(config, scan_layers=True, **changes)


@pytest.fixture(scope="module")
def variables():
    """Returns weights and gates that are partly open, and the names of their axes."""
    variables, names = make_variables(RAGGED)
    source = np.random.default_rng(1)
    vary = lambda gate: (gate * source.uniform(0.5, 1, gate.shape)).astype(np.float32)
    return {**variables, "gates": jax.tree.map(vary, variables["gates"])}, names


def forward(config, variables):
    readouts = config.module().apply(variables, {"tokens": TOKENS[:, :-1]})
    return readouts["tokens"].scores(TOKENS[:, 1:]).nats


def pull(config, variables):
    """Returns the mean of nats, and its gradients."""
    mean = lambda variables: forward(config, variables).mean()
    return jax.jit(jax.value_and_grad(mean))(variables)


@pytest.fixture(scope="module")
def unrolled(variables):
    return pull(RAGGED, variables[0])


def assert_same(actual, desired):
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, actual, desired)


def test_runs_are_as_long_as_can_be():
    found = list(runs_of(RAGGED.layers))
    assert found == [(WIDE, (0, 1)), (NARROW, (2, 3)), (EMPTY, (4, 5)), (WIDE, (6,))]


@pytest.mark.parametrize("remat", ["none", "full"])
def test_a_loop_over_layers_changes_no_number(remat, variables, unrolled):
    assert_same(pull(scanned(RAGGED, remat=remat), variables[0]), unrolled)


def test_a_loop_takes_layers_of_different_bits(variables, unrolled):
    weights, names = variables[0]["params"], variables[1]["params"]
    precision = uniform_precision(weights, names, 4)
    precision["bits"]["layer_1"]["mlp"]["mlp"] = np.full(9, 3, np.int32)
    rounded = {**variables[0], PRECISION: precision}
    nats = [
        jax.jit(quantized(partial(forward, config), names, 0))(rounded)
        for config in (RAGGED, scanned(RAGGED))
    ]
    assert_same(*nats)
    assert abs(nats[0].mean() - unrolled[0]) > 1e-3


def test_a_loop_shows_the_streams_between_its_layers(variables):
    streams = [
        jax.jit(partial(config.module().apply, method="streams"))(variables[0], INPUTS)
        for config in (RAGGED, scanned(RAGGED))
    ]
    assert len(streams[0]) == 1 + len(RAGGED.layers)
    assert_same(*streams)


def test_loops_are_chosen_where_they_help(monkeypatch):
    assert [is_scanned("auto", n) for n in (15, 16)] == [False, True]
    monkeypatch.setattr(platforms, "target_platform", lambda: "tpu")
    assert [is_scanned("auto", n) for n in (3, 4, 80)] == [False, True, True]
    assert is_scanned(True, 2)
    assert not is_scanned(False, 80)


def test_weights_that_lie_stacked_change_no_number(variables, unrolled):
    config = scanned(RAGGED)
    runs = scanned_runs(config)
    assert [run.numbers for run in runs] == [(0, 1), (2, 3)]
    stacked = stack(variables[0], runs)
    assert stacked["params"]["layers_2_3"]["mlp"]["up"].shape == (2, 8, 5)
    assert stacked["gates"].keys() == variables[0]["gates"].keys()
    assert stack(stacked, runs).keys() == stacked.keys()
    nats, grads = pull(config, stacked)
    assert_same((nats, unstack(grads, runs)), unrolled)
    jax.tree.map(np.testing.assert_array_equal, unstack(stacked, runs), variables[0])


def test_a_program_with_loops_has_each_run_once():
    def num_products(num_layers: int) -> int:
        config = scanned(decoder(13, 8, (WIDE,) * num_layers))
        variables = nn.meta.unbox(config.abstract_variables())
        apply = config.module().apply
        loss = lambda variables: apply(variables, INPUTS)["tokens"].x.sum()
        return jax.jit(jax.grad(loss)).lower(variables).as_text().count("dot_general")

    assert num_products(6) == num_products(3) > 0
