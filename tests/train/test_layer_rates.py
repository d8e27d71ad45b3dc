"""Learning rates fall by layers: of all optimizers, stacked, cut or spread."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slimjax.errors import ConfigError
from slimjax.models import recipes
from slimjax.models.head import HeadConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.runs import Run, stack, unstack
from slimjax.models.style import BERT, LLAMA
from slimjax.train.layer_rates import make_layer_rates
from slimjax.train.optim_config import OptimConfig
from slimjax.train.optimizers import make_optimizer
from slimjax.trees import flatten, unflatten

RATE = optax.constant_schedule(0.1)
LAYER = LayerConfig(2, 2, 2, 6)
HEADS = (HeadConfig("label", 3, at="first", bias=True),)
RUN = Run("", (0, 1, 2))


def make_encoder(style=BERT, **options):
    options = dict(num_positions=5, style=style) | options
    return recipes.encoder(7, 4, (LAYER,) * 3, heads=HEADS, **options)


def draw(model, seed=0):
    source = np.random.default_rng(seed)
    params = model.abstract_variables()["params"]
    return {
        "params": jax.tree.map(
            lambda leaf: source.standard_normal(leaf.value.shape).astype("f4"),
            params,
            is_leaf=lambda node: hasattr(node, "value"),
        )
    }


@pytest.mark.parametrize(
    ("path", "distance"),
    [
        (("label_head", "table"), 0),
        (("norm", "scale"), 0),
        (("layer_2", "mlp", "up"), 1),
        (("layer_0", "attention", "query"), 3),
        (("layers_0_2", "mlp", "down"), [3, 2, 1]),
        (("layers_1_2", "mlp", "down"), [2, 1]),
        (("tokens", "embedding"), 4),
        (("embed_norm", "scale"), 4),
        (("positions", "table"), 4),
    ],
)
def test_heads_have_the_whole_rate_and_the_embedding_the_least(path, distance):
    found = make_encoder().distance_to_heads(path)
    np.testing.assert_array_equal(found, distance)


def test_each_tower_counts_for_itself():
    across = dataclasses.replace(LAYER, cross_heads=2, cross_kv_heads=2)
    model = recipes.encoder_decoder(
        7, 4, (across,) * 2, encoder_layers=(LAYER,) * 5, encoder_width=6, style=LLAMA
    )
    distance = lambda *path: int(model.distance_to_heads(path))
    assert distance("layer_1", "cross", "key") == 1
    assert distance("encoder", "layer_4", "mlp", "up") == 1
    assert distance("encoder", "layer_0", "mlp", "up") == 5
    assert distance("encoder", "tokens", "embedding") == 6
    assert distance("tokens", "embedding") == 3
    assert distance("encoder", "norm", "scale") == 0


def test_a_layer_keeps_its_rate_when_a_seam_removes_others():
    model = make_encoder(LLAMA)
    shapes = draw(model)["params"]
    rest = {name: tree for name, tree in shapes.items() if name != "layer_1"}
    after = model.reshaped(rest)
    assert after.layers[1].is_empty
    for path in flatten(rest):
        assert after.distance_to_heads(path) == model.distance_to_heads(path)


@pytest.mark.parametrize("name", ["adamw", "momentum", "adafactor"])
def test_the_step_of_each_weight_is_multiplied(name):
    model = make_encoder()
    params, grads = draw(model), draw(model, seed=1)
    config = OptimConfig(name)

    def update(decay):
        rates = make_layer_rates(model, decay)
        tx = make_optimizer(config, RATE, layer_rates=rates)
        updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
        return flatten(updates["params"])

    whole, own = update(1.0), update(0.5)
    for path, step in own.items():
        factor = 0.5 ** model.distance_to_heads(path)
        np.testing.assert_allclose(step, factor * whole[path], rtol=1e-6)


def test_stacked_layers_have_rates_of_their_own():
    model = make_encoder()
    rates = make_layer_rates(model, 0.7)
    tx = make_optimizer(OptimConfig("sgd", l1=0.3), RATE, layer_rates=rates)
    params, grads = draw(model), draw(model, seed=1)
    update = jax.jit(tx.update)
    expected, _ = update(grads, tx.init(params), params)
    params, grads = (stack(tree, (RUN,)) for tree in (params, grads))
    found, _ = update(grads, tx.init(params), params)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    jax.tree.map(same, unstack(found, (RUN,)), expected)


def test_l1_falls_with_the_rate_and_still_gives_exact_zeros():
    model = make_encoder()
    path = ("layer_0", "mlp", "up")  # At distance 3.
    weights = {path: jnp.array([[0.004, 0.006]])}
    params = {"params": unflatten(weights)}
    rates = make_layer_rates(model, 0.5)
    config = OptimConfig("sgd", l1=0.4, weight_decay=0.0, clip_norm=0.0)
    tx = make_optimizer(config, RATE, layer_rates=rates)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    moved = optax.apply_updates(params, updates)
    found = flatten(moved["params"])[path]  # The threshold is 0.1 * 0.4 / 8 = 0.005.
    np.testing.assert_allclose(found, [[0.0, 0.001]], atol=1e-7)
    assert found[0, 0] == 0


def test_weights_that_are_spread_stay_where_they_are():
    model, mesh = make_encoder(), jax.make_mesh((2,), ("x",))
    place = lambda leaf: jax.NamedSharding(
        mesh, jax.P("x") if leaf.shape[0] % 2 == 0 else jax.P()
    )
    rates = make_layer_rates(model, 0.5)
    tx = make_optimizer(OptimConfig("sgd"), RATE, layer_rates=rates)
    params = draw(model)
    spread = jax.device_put(params, jax.tree.map(place, params))
    found, _ = jax.jit(tx.update)(spread, tx.init(params), spread)
    expected, _ = jax.jit(tx.update)(params, tx.init(params), params)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    jax.tree.map(same, found, expected)
    stays = lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim)
    assert jax.tree.all(jax.tree.map(stays, found, spread))


def test_one_rate_changes_nothing_and_other_factors_are_refused():
    assert make_layer_rates(make_encoder(), 1.0) is None
    for decay in (0.0, 1.5):
        with pytest.raises(ConfigError, match=r"config.optim.layer_decay=.* above 0"):
            OptimConfig(layer_decay=decay)
