"""What cutting and refitting layer by layer promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compress.tiny import (
    draw_pairs,
    draw_rows,
    make_decoder,
    make_encoder,
    make_pair,
)

from slimjax.compress.fitting import RIDGES, fit
from slimjax.compress.levels import Levels
from slimjax.compress.refit import refit
from slimjax.compress.side import Side
from slimjax.compress.walk import Walk
from slimjax.models import BERT, GPT2, LLAMA
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut
from slimjax.trees import axis_names, flatten, unflatten

MODELS = {
    "llama": lambda: make_decoder(LLAMA),
    "gpt2": lambda: make_decoder(GPT2),
    "bert": lambda: make_encoder(BERT),
}


def cut_model(model, variables, close):
    """Returns the model without what `close` takes from the gates."""
    gates = {path: np.array(gate) for path, gate in flatten(variables["gates"]).items()}
    close(gates)
    plan, names = make_plan(gates), axis_names(model.abstract_variables())
    params = cut(variables["params"], names["params"], plan)
    own = cut(variables["gates"], names["gates"], plan)
    slim = model.reshaped(params)
    ones = jax.tree.map(np.ones_like, own)
    return Walk(slim), {"params": params, "gates": ones}


def some(gates):
    gates["layer_0", "mlp", "mlp"][3:15] = 0
    gates["layer_0", "attention", "kv_heads"][1] = 0
    gates["layer_1", "mlp", "sublayer"][...] = 0
    gates["layer_2", "attention", "sublayer"][...] = 0


def last_streams(walk, variables, rows):
    inputs = {"tokens": jnp.asarray(rows.inputs["tokens"])}
    module = walk.model.module()
    return np.asarray(module.apply(variables, inputs, method="streams")[-1])


@pytest.mark.parametrize("name", MODELS)
def test_a_refitted_model_is_nearer_to_the_original(name):
    """Also on rows that it was not refitted on."""
    model, variables, walk = MODELS[name]()
    slim, weights = cut_model(model, variables, some)
    rows, others = draw_rows(300), draw_rows(40, seed=1)
    whole = last_streams(walk, variables, others)
    before = last_streams(slim, weights, others)
    refit(walk, variables, [Side(slim, weights)], rows)
    after = last_streams(slim, weights, others)
    assert np.sum((after - whole) ** 2) < 0.8 * np.sum((before - whole) ** 2)


def of_pair(gates):
    gates["encoder", "layer_0", "mlp", "mlp"][3:15] = 0
    gates["encoder", "layer_1", "attention", "kv_heads"][1] = 0
    gates["layer_0", "cross", "kv_heads"][0] = 0
    gates["layer_1", "attention", "sublayer"][...] = 0
    gates["layer_1", "mlp", "mlp"][:6] = 0


def pair_streams(walk, variables, rows):
    inputs = {name: jnp.asarray(values) for name, values in rows.inputs.items()}
    module = walk.model.module()
    last = np.asarray(module.apply(variables, inputs, method="streams")[-1])
    return last[rows.weights > 0]


@pytest.mark.parametrize("encoder_width", [0, 12])
def test_a_refitted_pair_of_towers_is_nearer_to_the_original(encoder_width):
    model, variables, walk = make_pair(encoder_width=encoder_width)
    slim, weights = cut_model(model, variables, of_pair)
    rows, others = draw_pairs(300), draw_pairs(40, seed=1)
    whole = pair_streams(walk, variables, others)
    before = pair_streams(slim, weights, others)
    refit(walk, variables, [Side(slim, weights)], rows)
    after = pair_streams(slim, weights, others)
    assert np.sum((after - whole) ** 2) < 0.8 * np.sum((before - whole) ** 2)


def test_a_decoder_makes_good_what_its_encoder_lost():
    """Its own weights are refitted although nothing of it was cut."""
    model, variables, walk = make_pair()

    def close(gates):
        gates["encoder", "layer_0", "mlp", "mlp"][3:15] = 0

    slim, weights = cut_model(model, variables, close)
    refit(walk, variables, [Side(slim, weights)], draw_pairs(600))
    own, known = (flatten(tree["params"]) for tree in (weights, variables))
    path = ("layer_0", "cross", "out")
    assert np.abs(own[path] - known[path]).max() > 1e-2
    path = ("layer_0", "attention", "out")  # It stands before the first memory.
    np.testing.assert_allclose(own[path], known[path], atol=1e-5)


def test_rounded_weights_are_not_fitted_to_few_rows():
    """On other rows the model is as near to the original as without any refit."""
    model, variables, walk = make_decoder()
    axes = flatten(axis_names(model.abstract_variables())["params"])
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 9}))
    bits = uniform_bits(inventory, 6)
    others = draw_rows(60, seed=1)
    whole = last_streams(walk, variables, others)

    def distance(ridges):
        params = {p: np.array(w) for p, w in flatten(variables["params"]).items()}
        own = {**variables, "params": unflatten(params)}
        side = Side(walk, own, Levels(axes, bits))
        refit(walk, variables, [side], draw_rows(5), ridges=ridges)
        return np.sum((last_streams(walk, own, others) - whole) ** 2)

    unfitted = distance((1e9,))
    assert distance(RIDGES) < 1.05 * unfitted < distance((0.002,))


def test_a_model_that_lost_nothing_is_left_alone():
    model, variables, walk = make_decoder()
    slim, weights = cut_model(model, variables, lambda _: None)
    refit(walk, variables, [Side(slim, weights)], draw_rows())
    for path, weight in flatten(weights["params"]).items():
        np.testing.assert_array_equal(weight, flatten(variables["params"])[path])


def test_layers_before_the_first_cut_are_left_alone():
    model, variables, walk = make_decoder()

    def close(gates):
        gates["layer_1", "mlp", "mlp"][:5] = 0

    slim, weights = cut_model(model, variables, close)
    refit(walk, variables, [Side(slim, weights)], draw_rows(300))
    own, known = (flatten(tree["params"]) for tree in (weights, variables))
    changed = {path for path in own if not np.array_equal(own[path], known[path])}
    read = {("layer_1", "mlp", "gate"), ("layer_1", "mlp", "up")}
    written = {("layer_1", "mlp", "down"), ("layer_2", "attention", "out")}
    assert changed == {*read, *written, ("layer_2", "mlp", "down")}


def test_twins_stand_in_for_each_other():
    """A unit that another one equals is cut without any loss."""
    model, variables, walk = make_decoder()
    params = {path: np.array(w) for path, w in flatten(variables["params"]).items()}
    for name in ("gate", "up"):
        params["layer_0", "mlp", name][:, 5] = params["layer_0", "mlp", name][:, 9]
    variables = {**variables, "params": unflatten(params)}

    def close(gates):
        gates["layer_0", "mlp", "mlp"][5] = 0

    slim, weights = cut_model(model, variables, close)
    rows, others = draw_rows(300), draw_rows(40, seed=1)
    refit(walk, variables, [Side(slim, weights)], rows, ridges=(1e-9,))
    whole, after = (
        last_streams(w, v, others) for w, v in ((walk, variables), (slim, weights))
    )
    np.testing.assert_allclose(after, whole, atol=2e-3)


def test_the_fit_has_the_least_error():
    source = np.random.default_rng(0)
    hidden, target = source.standard_normal((50, 4)), source.standard_normal((50, 3))
    weight = source.standard_normal((4, 3))
    fitted = fit(hidden.T @ hidden, hidden.T @ target, weight, ridge=0.0)
    known = np.linalg.lstsq(hidden, target, rcond=None)[0]
    np.testing.assert_allclose(fitted, known, atol=1e-8)


def test_a_large_ridge_keeps_the_weight():
    source = np.random.default_rng(0)
    hidden, target = source.standard_normal((50, 4)), source.standard_normal((50, 3))
    weight = source.standard_normal((4, 3))
    kept = fit(hidden.T @ hidden, hidden.T @ target, weight, ridge=1e9)
    np.testing.assert_allclose(kept, weight, atol=1e-6)


def test_models_that_are_refitted_together_are_those_that_are_refitted_alone():
    model, variables, walk = make_decoder()

    def other(gates):
        gates["layer_1", "mlp", "mlp"][:9] = 0

    rows = draw_rows(60)
    together = [cut_model(model, variables, close) for close in (some, other)]
    refit(walk, variables, [Side(*pair) for pair in together], rows)
    for close, (_, weights) in zip((some, other), together, strict=True):
        slim, alone = cut_model(model, variables, close)
        refit(walk, variables, [Side(slim, alone)], rows)
        for path, weight in flatten(alone["params"]).items():
            np.testing.assert_array_equal(weight, flatten(weights["params"])[path])
