"""Law 2: the size that is predicted is the size that is there."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dots import count_dots
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from shapes import hard_gates, logits_of, make_variables, models, recipes

from slimjax.budget.least import least_size
from slimjax.budget.limits import UNITS, Limits
from slimjax.errors import ConfigError
from slimjax.models import (
    BERT,
    GPT2,
    LLAMA,
    VIT,
    HeadConfig,
    LayerConfig,
    ModelConfig,
    Parts,
    captioner,
    decoder,
    encoder,
    encoder_decoder,
    fusion,
    make_cache,
    mlp,
)
from slimjax.models.adapters import DOMAIN, add_adapters
from slimjax.nn.pictures import Picture, Stage
from slimjax.nn.quantize import uniform_precision
from slimjax.objective.file_size import header_bytes
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.objective.size import MEASURES, make_size_fn, parse_measure
from slimjax.objective.towers import sizes_by_tower
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut
from slimjax.store.packed import write_packed
from slimjax.trees import axis_names, count_elements, unflatten

SEQ_LEN = 12
LENGTHS = {"": SEQ_LEN, "encoder": SEQ_LEN + 4, "text": SEQ_LEN + 2}


def inventory_of(config: ModelConfig):
    return take_inventory(config.abstract_variables(), config.uses(LENGTHS))


def size_of(measure: str, config: ModelConfig, gates=None) -> float:
    inventory = inventory_of(config)
    return float(make_size_fn(measure, inventory)(gates or inventory.open_gates()))


def cut_config(config: ModelConfig, gates: dict) -> ModelConfig:
    boxed = config.abstract_variables()
    names, shapes = axis_names(boxed), nn.meta.unbox(boxed)
    zeros = jax.tree.map(lambda s: np.zeros(s.shape), shapes["params"])
    return config.reshaped(cut(zeros, names["params"], make_plan(gates)))


@given(st.data(), st.sampled_from(MEASURES))
def test_size_of_closed_gates_is_size_of_the_cut_model(data, measure):
    config = data.draw(recipes())
    gates = closed_through(data.draw(hard_gates(config)))
    predicted = size_of(measure, config, gates)
    actual = size_of(measure, cut_config(config, gates))
    # The table of a file tells less where weights are gone: some 50 bytes a sublayer.
    num_layers = sum(len(tower.layers) for tower in config.towers)
    slack = 60 * 5 * num_layers if measure == "bytes" else 1e-6
    assert predicted == pytest.approx(actual, rel=0, abs=slack)


def closed_through(gates: dict) -> dict:
    """Returns gates in which a sublayer without open units is closed as a whole."""
    plan = make_plan(gates)
    return {path: np.asarray(is_open, float) for path, is_open in plan.is_open.items()}


@given(models())
def test_params_are_the_elements_of_the_weights(config):
    weights = nn.meta.unbox(config.abstract_variables())["params"]
    assert size_of("params", config) == count_elements(weights)


@given(models())
def test_kv_bytes_are_those_of_a_bfloat16_cache(config):
    cache = jax.eval_shape(lambda: make_cache(config, 1, 1))
    assert size_of("kv_bytes", config) == 2 * count_elements(cache)


@pytest.mark.parametrize("seq_len", [16, 128])
def test_flops_are_those_of_the_dot_products_of_the_model(seq_len):
    ragged = (
        LayerConfig(8, 4, 32, 320),
        LayerConfig(4, 4, 32, 96, mlp=False),
        LayerConfig(3, 1, 32, 200),
    )
    config = decoder(300, 128, ragged, attention_impl="reference")
    inventory = take_inventory(config.abstract_variables(), config.uses({"": seq_len}))
    counted = float(make_size_fn("flops", inventory)(inventory.open_gates()))
    tokens = jax.ShapeDtypeStruct((1, seq_len), jnp.int32)
    variables = nn.meta.unbox(config.abstract_variables())
    apply = partial(logits_of, config)
    jaxpr = jax.make_jaxpr(apply)(variables, {"tokens": tokens})
    actual = count_dots(jaxpr.jaxpr) / seq_len
    assert counted == pytest.approx(actual, rel=0.02)


BIG = LayerConfig(4, 2, 32, 192)
ACROSS = LayerConfig(2, 2, 32, 100, cross_heads=4, cross_kv_heads=1)
CARRIED = LayerConfig(0, 0, 32, 100, attention=False, state_dim=96)
TAGS = HeadConfig("tag", 40, bias=True)
LABEL = HeadConfig("label", 30, at="mean")
MIXED = dataclasses.replace(ACROSS, attention=False, num_heads=0, num_kv_heads=0)
FUSED = Parts(96, (BIG,), 80, (BIG,), (MIXED,), 112, (BIG,))


def with_adapters(config: ModelConfig) -> ModelConfig:
    towers = (add_adapters(tower, ("movie", "shop"), 24) for tower in config.towers)
    return dataclasses.replace(config, towers=tuple(towers))


OTHERS = {
    "positions in a table": decoder(300, 128, (BIG,), style=GPT2, num_positions=64),
    "own table": decoder(
        300, 128, (BIG,), style=dataclasses.replace(LLAMA, tied=False)
    ),
    "tags and a label": encoder(300, 128, (BIG,) * 2, heads=(TAGS, LABEL)),
    "a label": encoder(300, 128, (BIG,) * 2, heads=(LABEL,), token_types=2),
    "one table": encoder_decoder(300, 128, (ACROSS, BIG), encoder_layers=(BIG,)),
    "two widths": encoder_decoder(
        300, 128, (ACROSS,), encoder_layers=(BIG,) * 2, encoder_width=96
    ),
    "copying": encoder_decoder(
        300,
        128,
        (ACROSS,),
        encoder_layers=(BIG,),
        encoder_width=96,
        heads=(HeadConfig("tokens", 300, table="tied", copy_dim=48),),
    ),
    "a state": decoder(
        *(300, 128, (CARRIED,)), style=dataclasses.replace(GPT2, cell="gru")
    ),
    "two states": encoder(
        *(300, 128, (CARRIED,) * 2),
        heads=(TAGS,),
        style=dataclasses.replace(BERT, cell="lstm", positions="none"),
    ),
    "characters": encoder(
        *(300, 128, (BIG,)),
        heads=(LABEL,),
        stem="characters",
        token_bytes=8,
        byte_dim=24,
    ),
    "perceptron": mlp(100, 128, heads=(LABEL,)),
    "a convolution": encoder(
        *(0, 64, (BIG,)),
        heads=(LABEL,),
        style=VIT,
        stem="convolution",
        picture=Picture(24, 16, 3, (Stage(16, 5, 1, 2), Stage(32, 3, 2))),
        reads="image",
        num_positions=6 * 4,
    ),
    "a fusion": fusion(
        300,
        FUSED,
        heads=(LABEL,),
        picture=Picture(24, 16, 3, (Stage(16, 5, 1, 2), Stage(32, 3, 2))),
        num_positions=64,
    ),
    "a translator of captions": captioner(
        *(300, 128, (ACROSS,), FUSED),
        picture=Picture(24, 16, 3, patch=4),
        source_vocab_size=200,
    ),
    "adapters": with_adapters(encoder(300, 128, (BIG,), heads=(LABEL,))),
    "patches": encoder(
        *(0, 64, (BIG,)),
        heads=(LABEL,),
        style=VIT,
        stem="patches",
        picture=Picture(24, 16, 3, patch=4),
        reads="image",
        num_positions=6 * 4,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_flops_of_all_models_are_those_of_their_dot_products_per_target(name):
    config = dataclasses.replace(OTHERS[name], attention_impl="reference")
    lengths = {"": 60, "encoder": 44, "text": 44}
    inventory = take_inventory(config.abstract_variables(), config.uses(lengths))
    counted = float(make_size_fn("flops", inventory)(inventory.open_gates()))
    inputs = {}
    if config.main.domains:
        inputs[DOMAIN] = jax.ShapeDtypeStruct((1,), jnp.int32)
    for tower in (tower for tower in config.towers if not tower.of):
        if tower.picture is not None:
            picture = tower.picture
            shape = 1, picture.height, picture.width, picture.colors
            inputs[tower.reads] = jax.ShapeDtypeStruct(shape, jnp.uint8)
            continue
        shape, dtype = (1, tower.num_inputs), jnp.float32
        if tower.token_bytes:
            shape = (1, lengths[tower.name], tower.token_bytes)
            inputs[f"{tower.reads}_bytes"] = jax.ShapeDtypeStruct(shape, jnp.int32)
        if tower.stem != "features":
            shape, dtype = (1, lengths[tower.name]), jnp.int32
        inputs[tower.reads] = jax.ShapeDtypeStruct(shape, dtype)
    variables = nn.meta.unbox(config.abstract_variables())
    jaxpr = jax.make_jaxpr(partial(logits_of, config))(variables, inputs)
    causal = False if config.main.sees_all else 60
    actual = count_dots(jaxpr.jaxpr, causal=causal) / config.targets_per_row(lengths)
    assert counted == pytest.approx(actual, rel=0.02)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("num_layers", [1, 5])
def test_bytes_are_those_of_the_packed_file_within_one_percent(
    tmp_path, width, num_layers
):
    layers = tuple(LayerConfig(4, 2, 8, 40 + i) for i in range(num_layers))
    config = decoder(64, width, layers)
    variables, names = make_variables(config)
    path = tmp_path / "model.safetensors"
    actual = write_packed(path, variables["params"], names["params"])
    assert size_of("bytes", config) == pytest.approx(actual, rel=0.01)
    assert (tmp_path / "model.safetensors").stat().st_size == actual


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("bits", [4, 16])
def test_bytes_of_all_models_are_those_of_the_packed_file(name, bits, tmp_path):
    variables, names = make_variables(OTHERS[name])
    shapes, axes = variables["params"], names["params"]
    precision = uniform_precision(shapes, axes, bits)
    actual = write_packed(tmp_path / "model.safetensors", shapes, axes, precision)
    inventory = inventory_of(OTHERS[name])
    size_fn = make_size_fn("bytes", inventory)
    predicted = size_fn(inventory.open_gates(), uniform_bits(inventory, bits))
    assert float(predicted) == pytest.approx(actual, rel=0.01)


def test_sizes_of_towers_add_up_to_that_of_the_model():
    config = OTHERS["a fusion"]
    inventory = inventory_of(config)
    names, opened = [tower.name for tower in config.towers], inventory.open_gates()
    bits = uniform_bits(inventory, 8)
    found = sizes_by_tower(inventory, names, bits)
    assert list(found) == ["image", "text", "mixed", "main"]
    header = header_bytes(inventory, 0)
    for measure, beside in (("params", 0), ("flops", 0), ("bytes", header)):
        whole = float(make_size_fn(measure, inventory)(opened, bits))
        total = sum(own[measure] for own in found.values())
        assert total + beside == pytest.approx(whole)


def test_the_slope_of_size_is_what_a_unit_weighs():
    config = decoder(11, 8, (LayerConfig(4, 2, 2, 5),))
    inventory = inventory_of(config)
    size_fn = make_size_fn("params", inventory)
    gates = {p: jnp.asarray(g, jnp.float32) for p, g in inventory.open_gates().items()}
    slope = jax.grad(lambda g: size_fn(g).sum())(unflatten(gates))
    mlp = slope["layer_0"]["mlp"]["mlp"]
    np.testing.assert_allclose(mlp, 3 * 8)  # A column of two kernels, a row of one.
    groups = slope["layer_0"]["attention"]["kv_heads"]
    np.testing.assert_allclose(groups, 2 * 8 * 2 + 2 * 2 * 8 * 2)  # K, V; 2 Q, 2 O.


def test_the_smallest_model_has_nothing_but_embedding_and_norm():
    config = decoder(11, 8, (LayerConfig(4, 2, 2, 5), LayerConfig(2, 2, 2, 3)))
    inventory = inventory_of(config)
    size_fn = make_size_fn("params", inventory)
    assert least_size(inventory, size_fn, Limits()) == 11 * 8 + 8
    assert (
        least_size(inventory, size_fn, Limits(units=UNITS, min_width=3)) == 11 * 3 + 3
    )
    small = decoder(11, 8, (LayerConfig(1, 1, 2, 2),) * 2)
    limits = Limits(min_kv_heads=1, min_mlp_dim=2)
    assert least_size(inventory, size_fn, limits) == size_of("params", small)
    kept = 8 + 4 * 2 * 8  # Norm, query, key, value and output of one head, twice.
    assert least_size(inventory, size_fn, Limits(min_layers=2)) == 11 * 8 + 8 + 2 * kept


def test_a_sum_of_measures_is_of_parts_of_the_start():
    config = decoder(11, 8, (LayerConfig(4, 2, 2, 5),))
    inventory = inventory_of(config)
    gates = inventory.open_gates()
    gates["layer_0", "mlp", "mlp"][:2] = 0.0
    parts = [
        size_of(m, config, gates) / size_of(m, config) for m in ("params", "flops")
    ]
    mixed = size_of("0.25*params + 0.75*flops", config, gates)
    assert mixed == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])
    for wrong in ("0.5*params+", "x*flops", "-1*params+flops", "0.5*parms"):
        with pytest.raises(ConfigError, match=r"config\.objective\.size"):
            parse_measure(wrong)


def test_an_unknown_measure_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="Did you mean params"):
        make_size_fn("parms", inventory_of(decoder(5, 4, (LayerConfig(1, 1, 2, 3),))))
