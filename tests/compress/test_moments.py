"""What the statistics of a pass promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compress.tiny import draw_rows, make_decoder, make_encoder

from slimjax.compress.moments import HEAD, STREAM, collect
from slimjax.compress.walk import Walk, source_of
from slimjax.models import BERT, GPT2, LLAMA
from slimjax.nn.moments import MOMENTS
from slimjax.trees import flatten

STYLES = {"llama": LLAMA, "gpt2": GPT2}


@pytest.mark.parametrize("style", STYLES)
def test_inputs_have_the_moments_that_a_seam_measures(style):
    model, variables, walk = make_decoder(STYLES[style])
    rows = draw_rows()
    found = collect(walk, variables, rows, num_slope_rows=2)
    inputs = {"tokens": jnp.asarray(rows.inputs["tokens"])}
    _, known = model.module().apply(variables, inputs, mutable=[MOMENTS])
    for path, squares in flatten(known[MOMENTS]).items():
        np.testing.assert_allclose(
            found.inputs[path], np.asarray(squares) / 90, rtol=2e-4, atol=1e-5
        )


def test_a_walk_layer_by_layer_ends_where_the_model_ends():
    model, variables, walk = make_decoder()
    rows = draw_rows()
    streams = walk.begin(variables, rows)
    for number in range(model.num_layers):
        read = jax.jit(walk.reader(number))
        layer = walk.layer(variables, number)
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


def test_a_model_of_several_towers_is_refused():
    from slimjax.errors import ConfigError
    from slimjax.models import LayerConfig, encoder_decoder

    layer = LayerConfig(2, 2, 4, 8, cross_heads=2, cross_kv_heads=2)
    source = LayerConfig(2, 2, 4, 8)
    model = encoder_decoder(9, 8, (layer,), encoder_layers=(source,))
    with pytest.raises(ConfigError, match="one tower"):
        Walk(model)
