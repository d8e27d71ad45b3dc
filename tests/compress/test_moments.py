"""What the statistics of a pass promise."""

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

from slimjax.compress.moments import HEAD, STREAM, collect
from slimjax.compress.walk import source_of
from slimjax.errors import ConfigError
from slimjax.models import BERT, GPT2, LLAMA, HeadConfig
from slimjax.nn.moments import MOMENTS
from slimjax.trees import flatten, unflatten

STYLES = {"llama": LLAMA, "gpt2": GPT2}


@pytest.mark.parametrize("style", STYLES)
def test_inputs_have_the_moments_that_a_seam_measures(style):
    model, variables, walk = make_decoder(STYLES[style])
    rows = draw_rows()
    found = collect(walk, variables, rows, num_slope_rows=2)
    inputs = {"tokens": jnp.asarray(rows.inputs["tokens"])}
    variables = jax.tree.map(jnp.asarray, variables)
    _, known = model.module().apply(variables, inputs, mutable=[MOMENTS])
    for path, squares in flatten(known[MOMENTS]).items():
        np.testing.assert_allclose(
            found.inputs[path], np.asarray(squares) / 90, rtol=2e-4, atol=1e-5
        )


def test_a_walk_layer_by_layer_ends_where_the_model_ends():
    model, variables, walk = make_decoder()
    rows = draw_rows()
    streams = walk.begin(variables, rows)
    for place in walk.places():
        read = jax.jit(walk.reader(place))
        layer = walk.layer(variables, place)
        values = [
            read(layer, x, c)[0]
            for x, c in zip(streams.values, streams.contexts, strict=True)
        ]
        streams = streams._replace(values=values)
    inputs = {"tokens": jnp.asarray(rows.inputs["tokens"])}
    known = model.module().apply(variables, inputs)["tokens"].logits()
    end = model.module().apply(variables, streams.values[0], inputs, method="end")
    np.testing.assert_allclose(end.logits(), known, atol=2e-5)


@pytest.mark.parametrize("name", ["decoder", "post-norm encoder"])
def test_slopes_are_those_of_weights(name):
    """A bias' gradient is the sum of the slopes of one row with one position."""
    make = make_decoder if name == "decoder" else make_encoder
    targets = None if name == "decoder" else "row"
    model, variables, walk = make(GPT2 if name == "decoder" else BERT)
    rows = draw_rows(num_rows=1, length=1, targets=targets)
    found = collect(walk, variables, rows, num_slope_rows=1, seed=3)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 0), 0)
    inputs = {"tokens": jnp.asarray(rows.inputs["tokens"])}

    def nats(params):
        variables_now = {**variables, "params": params}
        logits = model.module().apply(variables_now, inputs)[model.heads[0].name]
        logits = logits.logits()
        label = jax.random.categorical(key, jax.lax.stop_gradient(logits))
        scores = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(scores, label[..., None], -1).sum()

    slopes = flatten(jax.grad(nats)(variables["params"]))
    for path, own in found.slopes.items():
        bias = slopes.get((*path[:-1], f"{path[-1]}_bias"))
        if path in (HEAD, STREAM) or bias is None:
            continue
        bias = np.asarray(bias).reshape(-1)
        expected = np.outer(bias, bias) if path[-1] in ("out", "down") else bias**2
        np.testing.assert_allclose(own, expected, rtol=2e-3, atol=1e-6)


def test_rows_that_are_measured_again_change_no_mean():
    _, variables, walk = make_decoder()
    rows, twice = draw_rows(6), draw_rows(6)
    twice = twice.at(np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]))
    one = collect(walk, variables, rows, num_slope_rows=1)
    two = collect(walk, variables, twice, num_slope_rows=1)
    for path, moment in one.inputs.items():
        np.testing.assert_allclose(two.inputs[path], moment, rtol=1e-4, atol=1e-5)


def test_padding_is_not_counted():
    _, variables, walk = make_encoder()
    rows = draw_rows(targets="row")
    segments = np.ones((10, 9), np.int32)
    padded = {
        "tokens": np.pad(rows.inputs["tokens"], ((0, 0), (0, 2))),
        "tokens_segments": np.pad(segments, ((0, 0), (0, 2))),
    }
    known = {**rows.inputs, "tokens_segments": segments}
    one = collect(walk, variables, rows._replace(inputs=known), num_slope_rows=2)
    two = collect(walk, variables, rows._replace(inputs=padded), num_slope_rows=2)
    for path, moment in one.inputs.items():
        np.testing.assert_allclose(two.inputs[path], moment, rtol=1e-3, atol=1e-4)
    for path, moment in one.slopes.items():
        np.testing.assert_allclose(two.slopes[path], moment, rtol=1e-2, atol=1e-4)


def test_every_weight_has_an_input():
    _, variables, walk = make_decoder(GPT2)
    found = collect(walk, variables, draw_rows(2), num_slope_rows=1)
    for path in found.slopes:
        if path not in (HEAD, STREAM):
            assert source_of(path, found.inputs) in found.inputs


def walk_through(walk, variables, rows):
    """Returns the last streams of all towers."""
    ends = {}
    for tower in walk.towers:
        streams = walk.begin(variables, rows, tower.name, ends)
        for place in walk.places(tower.name):
            read, layer = jax.jit(walk.reader(place)), walk.layer(variables, place)
            pairs = zip(streams.values, streams.contexts, strict=True)
            streams = streams._replace(values=[read(layer, *pair)[0] for pair in pairs])
        ends[tower.name] = streams
    return ends


@pytest.mark.parametrize("encoder_width", [0, 12])
def test_a_walk_through_two_towers_ends_where_the_model_ends(encoder_width):
    model, variables, walk = make_pair(encoder_width=encoder_width)
    rows = draw_pairs()
    inputs = {name: jnp.asarray(values) for name, values in rows.inputs.items()}
    known = model.module().apply(variables, inputs)["tokens"].logits()
    last = walk_through(walk, variables, rows)[""].values[0]
    end = model.module().apply(variables, last, inputs, method="end")
    np.testing.assert_allclose(end.logits(), known, atol=2e-5)


@pytest.mark.parametrize("encoder_width", [0, 12])
def test_slopes_go_through_the_memory(encoder_width):
    """What tables write has the gradients that the table of the source has."""
    model, variables, walk = make_pair(encoder_width=encoder_width)
    rows = draw_pairs(num_rows=1, length=1, source_length=1)
    rows = rows._replace(weights=np.ones_like(rows.weights))
    ones = {name: np.ones((1, 1), np.int32) for name in rows.inputs if "_" in name}
    rows = rows._replace(inputs={**rows.inputs, **ones})
    found = collect(walk, variables, rows, num_slope_rows=1, seed=3)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 0), 0)
    inputs = {name: jnp.asarray(values) for name, values in rows.inputs.items()}
    path = ("encoder", "layer_0", "mlp", "down")

    def nats(weight):
        params = {**flatten(variables["params"]), path: weight}
        now = {**variables, "params": unflatten(params)}
        logits = model.module().apply(now, inputs)["tokens"].logits()
        label = jax.random.categorical(key, jax.lax.stop_gradient(logits))
        scores = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(scores, label[..., None], -1).sum()

    gradient = jax.grad(nats)(jnp.asarray(flatten(variables["params"])[path]))
    # Of one position, the gradient is h^T d: its square over h is that of d.
    squares = np.asarray(gradient.T @ gradient) / np.trace(found.inputs[path])
    np.testing.assert_allclose(found.slopes[path], squares, rtol=2e-3, atol=1e-6)


def test_keys_of_the_memory_are_moments_of_the_memory():
    _, variables, walk = make_pair()
    rows = draw_pairs()
    found = collect(walk, variables, rows, num_slope_rows=2)
    read = walk_through(walk, variables, rows)[""].contexts[0].memory
    there = np.asarray(read)[rows.inputs["source_segments"] > 0]
    for number in range(2):
        moment = found.inputs[f"layer_{number}", "cross", "key"]
        np.testing.assert_allclose(moment, there.T @ there / len(there), rtol=1e-3)


def test_vectors_have_the_curvature_of_their_distance():
    """``J^T J`` of half the squared distance, in the mean over the noise."""
    head = HeadConfig("vector", 0, at="mean", table="batch", loss="contrast")
    model, variables, walk = make_encoder(head=head)
    row = draw_rows(num_rows=1, length=1, targets="row")
    many = row.at(np.zeros(3000, int))._replace(targets=np.zeros((3000, 16)))
    found = collect(walk, variables, many, num_slope_rows=3000)
    inputs = {"tokens": jnp.asarray(row.inputs["tokens"])}
    path = ("layer_1", "mlp", "down_bias")

    def vector(bias):
        params = {**flatten(variables["params"]), path: bias}
        now = {**variables, "params": unflatten(params)}
        return model.module().apply(now, inputs)["vector"].x[0]

    jacobian = jax.jacobian(vector)(jnp.asarray(flatten(variables["params"])[path]))
    jacobian = np.asarray(jacobian).reshape(16, -1)
    curvature = jacobian.T @ jacobian
    own = found.slopes["layer_1", "mlp", "down"]
    assert np.abs(own - curvature).max() < 0.15 * np.abs(curvature).max()


@pytest.mark.parametrize("change", [dict(loss="gaussian"), dict(loss="binary")])
def test_other_losses_are_refused(change):
    head = HeadConfig("value", 2, at="mean", **change)
    with pytest.raises(ConfigError, match=change["loss"]):
        make_encoder(head=head)
