"""Adapters of domains: a shared trunk, and what each domain adds to it."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from shapes import CLASSES, draw_inputs, logits_of, make_variables

from slimjax.config import override, read_config
from slimjax.data.domains import Domains
from slimjax.data.outline import Field
from slimjax.data.two_columns import PARTNER_TOKENS
from slimjax.errors import ConfigError
from slimjax.models import BERT, VIT, LayerConfig, ModelSettings, encoder
from slimjax.models.adapters import DOMAIN, add_adapters, count_adapters
from slimjax.models.architecture import parse_architecture
from slimjax.models.build import build_model
from slimjax.models.paths import layer_name
from slimjax.models.plain import as_json, from_json
from slimjax.run.blueprints import expected_outline, make_model, make_task
from slimjax.tasks import ranking
from slimjax.tasks.inputs import with_domains
from slimjax.train.config import make_run_config

LAYERS = (LayerConfig(2, 1, 4, 5),) * 2
DOMAINS = ("movie", "shop", "phone")


def make_models(style):
    """Returns a trunk, and the same with adapters."""
    options = dict(style=style, num_positions=6, attention_impl="reference")
    trunk = encoder(11, 6, LAYERS, heads=CLASSES, scan_layers=True, **options)
    return trunk, trunk.with_main(**vars(add_adapters(trunk.main, DOMAINS, 3)))


def without(params, *domains):
    """Returns weights of a model in which only some adapters are there."""

    def keep(name):
        return "_adapter_" not in name or name.rpartition("_")[2] in domains

    layers = {k: v for k, v in params.items() if k.startswith("layer_")}
    kept = {
        name: {part: own for part, own in layer.items() if keep(part)}
        for name, layer in layers.items()
    }
    return {**params, **kept}


def test_adapters_of_a_model_without_sublayers_are_refused():
    plain = dict[str, Any](kind="encoder", stem="convolution", pools=(2,), width=8)
    plain |= dict(num_heads=2, mlp_dim=8, adapters={"width": 4})
    sizes = dict(classes=3, image_height=8, image_width=8, image_channels=1)
    build = lambda number: build_model(
        *(ModelSettings(num_layers=number, **plain), sizes, CLASSES), domains=DOMAINS
    )
    assert len(build(1).main.layers[0].adapters) == 2 * len(DOMAINS)
    with pytest.raises(ConfigError, match=r"model has none\. Set config\.model\.num_l"):
        build(0)


@pytest.mark.parametrize("style", [VIT, BERT])
def test_a_model_starts_as_its_trunk_exactly(style):
    trunk, model = make_models(style)
    variables = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0)))
    inputs = draw_inputs(model, num_rows=4)
    plain = {kind: without(tree) for kind, tree in variables.items()}
    read = {name: x for name, x in inputs.items() if name != DOMAIN}
    expected = logits_of(trunk, plain, read)["label"]
    np.testing.assert_array_equal(
        logits_of(model, variables, inputs)["label"], expected
    )
    np.testing.assert_array_equal(logits_of(model, variables, read)["label"], expected)


def test_each_row_passes_the_adapters_of_its_own_domain():
    _, model = make_models(VIT)
    variables, _ = make_variables(model)
    inputs = draw_inputs(model, num_rows=4)
    found = logits_of(model, variables, inputs)["label"]
    for row, number in enumerate(inputs[DOMAIN].tolist()):
        own = [DOMAINS[number]] if number >= 0 else []
        alone = model.reshaped(without(variables["params"], *own))
        few = {kind: without(tree, *own) for kind, tree in variables.items()}
        expected = logits_of(alone, few, inputs)["label"][row]
        np.testing.assert_allclose(found[row], expected, atol=1e-6)
    assert len({tuple(row) for row in np.asarray(found).round(4).tolist()}) == 4


def test_a_share_of_the_rows_skips_them_in_training_alone():
    _, model = make_models(VIT)
    model = dataclasses.replace(model, adapter_skip=0.5)
    assert model.is_random
    variables, _ = make_variables(model)
    inputs = draw_inputs(model, num_rows=1)
    rows = {name: jnp.repeat(x, 32, axis=0) for name, x in inputs.items()}
    rows[DOMAIN] = jnp.zeros(32, jnp.int32)
    network, key = model.module(), jax.random.key(0)
    train = network.apply(variables, rows, key)["label"].logits()
    apart = logits_of(model, variables, rows)["label"][0]
    rows[DOMAIN] = jnp.full(32, -1)
    trunk = logits_of(model, variables, rows)["label"][0]
    skips = np.isclose(train, trunk[None], atol=1e-6).all(1)
    passes = np.isclose(train, apart[None], atol=1e-6).all(1)
    assert (skips ^ passes).all()
    assert 6 <= skips.sum() <= 26


def test_an_architecture_tells_which_domain_kept_what():
    _, model = make_models(VIT)
    params = dict(make_variables(model)[0]["params"])
    first = {k: v for k, v in params[layer_name(0)].items() if "_shop" not in k}
    small = model.reshaped({**params, layer_name(0): first})
    entries = small.architecture()
    names = [name for name, _ in entries[0]["adapters"]]
    assert names == [
        f"{kind}_adapter_{domain}"
        for kind in ("attention", "mlp")
        for domain in ("movie", "phone")
    ]
    assert parse_architecture(entries, "here", rotary=False) == small.layers
    again = from_json(json.loads(json.dumps(as_json(small))), "here")
    assert hash(again) == hash(small)  # A list of a file would have none.
    for broken in (5, [["mlp_adapter_movie"]]):
        entries[0]["adapters"] = broken
        with pytest.raises(ConfigError, match=r"here\[0\] is not a whole layer"):
            parse_architecture(entries, "here", rotary=False)
    entries[0]["adapters"] = [["mlp_adapter_movie", 0]]
    with pytest.raises(ConfigError, match="mlp_adapter_movie=0 must be"):
        parse_architecture(entries, "here", rotary=False)


def make_run(**model):
    changes = [(f"model.{name}", json.dumps(x)) for name, x in model.items()]
    return make_run_config(override(read_config("configs/tiny_test.py"), changes))


def test_adapters_need_rows_that_have_a_domain():
    run = make_run(adapters={"width": 4, "skip": 0.25})
    outline = expected_outline(run)
    with pytest.raises(ConfigError, match="is for data of several domains"):
        make_model(run, outline)
    fields = {**outline.fields, DOMAIN: Field((), "int32", ())}
    codecs = {**outline.codecs, DOMAIN: Domains(("movie", "shop"))}
    outline = dataclasses.replace(outline, fields=fields, codecs=codecs)
    model = make_model(run, outline)
    assert model.main.domains == ("movie", "shop")
    assert model.adapter_skip == 0.25
    assert {width for _, width in model.layers[0].adapters} == {4}
    batch = {"tokens": jnp.ones((2, 5), jnp.int32), DOMAIN: jnp.array([0, 1])}
    read = make_task(run, outline).inputs(batch, None)
    assert read[DOMAIN].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("adapters", "words"),
    [
        ({"skip": 0.1}, "must have a width"),
        ({"width": 0}, "width=0 must be 1"),
        ({"width": 4, "skip": 1}, "skip=1 must be"),
        ({"widths": 4}, "'widths' is unknown. Did you mean width"),
    ],
)
def test_settings_that_describe_no_adapter_are_refused(adapters, words):
    with pytest.raises(ConfigError, match=words):
        ModelSettings(adapters=adapters)


def test_both_texts_of_a_row_have_its_domain():
    task = with_domains(ranking.make_task({"pad": 0, "bos": 1, "eos": 2}))
    tokens = jnp.array([[1, 5, 2], [1, 6, 2]])
    batch = {"tokens": tokens, PARTNER_TOKENS: tokens, DOMAIN: jnp.array([1, -1])}
    assert task.inputs(batch, None)[DOMAIN].tolist() == [1, -1, 1, -1]
    del batch[PARTNER_TOKENS]
    assert task.inputs(batch, None)[DOMAIN].tolist() == [1, -1]


def test_units_of_adapters_are_counted_in_all_towers():
    entry = {"adapters": [["mlp_adapter_movie", 3], ["attention_adapter_a_b", 2]]}
    towers = {"": {"layers": [entry, {}]}, "encoder": {"layers": [entry]}}
    found = count_adapters({"towers": towers}, ["movie", "a_b", "b"])
    assert found["movie"] == {"sublayers": 2, "units": 6}
    assert found["a_b"] == {"sublayers": 2, "units": 4}
    assert found["b"] == {"sublayers": 0, "units": 0}
