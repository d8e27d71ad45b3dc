"""Law 1: what is closed can be cut out, and nothing that remains will notice."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import (
    ENDS,
    LENGTH,
    MANY,
    NUMBER,
    VECTOR,
    draw_inputs,
    hard_gates,
    logits_of,
    make_variables,
    recipes,
)

from slimjax.models import BERT, GPT2, LayerConfig, decoder, encoder
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.inventory import Inventory
from slimjax.resize.carry import carry_state, fold_moments
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut, fold
from slimjax.strategies import get
from slimjax.strategies.base import StepContext
from slimjax.train.optim import make_tx
from slimjax.train.optim_config import OptimConfig
from slimjax.trees import axis_names, flatten, unflatten


def as_tree(gates: dict) -> dict:
    return unflatten({p: np.asarray(g, np.float32) for p, g in gates.items()})


def shrink(variables: dict, names: dict, gates: dict, config, plan=None):
    """Returns the folded and cut variables and their config."""
    plan = plan or make_plan(gates)
    folded = fold(variables["params"], names["params"], flatten(as_tree(gates)))
    opened = jax.tree.map(np.ones_like, cut(variables["gates"], names["gates"], plan))
    small = {"params": cut(folded, names["params"], plan), "gates": opened}
    return small, config.reshaped(small["params"]), plan


@partial(jax.jit, static_argnums=1)
def logits_and_grads(variables, config):
    """Returns logits and the gradients of their cross entropy."""
    inputs = draw_inputs(config)

    def loss(variables):
        logits = logits_of(config, variables, inputs)
        means = [(jax.nn.logsumexp(x, -1) - x[..., 0]).mean() for x in logits.values()]
        return sum(means), logits

    grads, logits = jax.grad(loss, has_aux=True)(variables)
    return logits, grads


def all_close(one, other, atol=1e-5, rtol=0.0):
    close = partial(np.testing.assert_allclose, atol=atol, rtol=rtol)
    jax.tree.map(close, one, other)


@given(st.data())
@settings(max_examples=settings.default.max_examples)
def test_closed_equals_cut_in_logits_gradients_and_the_next_update(data):
    config = data.draw(recipes())
    gates = data.draw(hard_gates(config))
    variables, names = make_variables(config)
    closed = {"params": variables["params"], "gates": as_tree(gates)}
    small, small_config, plan = shrink(variables, names, gates, config)

    logits, grads = logits_and_grads(closed, config)
    small_logits, small_grads = logits_and_grads(small, small_config)
    all_close(small_logits, logits)
    expected = cut(grads["params"], names["params"], plan)
    all_close(small_grads["params"], expected)

    tx = make_optimizer()
    update = jax.jit(tx.update)
    state = tx.init(closed)
    for _ in range(2):  # Moments that are not zero.
        _, state = update(grads, state, closed)
    updates, _ = update(grads, state, closed)
    small_state = carry_state(tx, jax.device_get(state), small, names, plan)
    small_updates, _ = jax.jit(tx.update)(small_grads, small_state, small)
    # Adam divides by the root of its second moment: where a gradient is all rounding
    # error, so is its direction. Such entries are left out.
    tells = jax.tree.map(lambda g: (np.abs(g) > 1e-4).astype(np.float32), expected)
    told = lambda tree: jax.tree.map(np.multiply, jax.device_get(tree), tells)
    expected = cut(updates["params"], names["params"], plan)
    all_close(told(small_updates["params"]), told(expected))


@pytest.mark.parametrize("heads", [NUMBER, MANY, ENDS, VECTOR], ids=lambda h: h[0].name)
@given(data=st.data())
@settings(max_examples=1)
def test_every_kind_of_head_says_the_same_after_a_cut(heads, data):
    layer = LayerConfig(2, 2, 4, 5)
    style = dataclasses.replace(BERT, positions="none")
    config = encoder(9, 6, (layer,), heads=heads, style=style)
    gates = data.draw(hard_gates(config))
    variables, names = make_variables(config)
    closed = {"params": variables["params"], "gates": as_tree(gates)}
    small, small_config, _ = shrink(variables, names, gates, config)
    inputs = draw_inputs(config)
    assert small_config.width == int(sum(gates[("embed",)]))
    expected = logits_of(config, closed, inputs)
    all_close(logits_of(small_config, small, inputs), expected)


@pytest.mark.parametrize("heads", [NUMBER, MANY, ENDS, VECTOR], ids=lambda h: h[0].name)
def test_every_kind_of_head_says_the_same_after_gates_are_folded(heads):
    style = dataclasses.replace(BERT, positions="none")
    config = encoder(9, 6, (LayerConfig(2, 2, 4, 5),), heads=heads, style=style)
    check_folding(config)


def check_folding(config):
    """Checks that fractional gates can be multiplied into the weights."""
    variables, names = make_variables(config)
    source = np.random.default_rng(0)
    shapes = flatten(variables["gates"])
    gates = {p: source.uniform(0.2, 1.0, g.shape) for p, g in shapes.items()}
    small, small_config, plan = shrink(variables, names, gates, config)
    assert plan.is_empty
    closed = {"params": variables["params"], "gates": as_tree(gates)}
    all_close(
        logits_and_grads(small, small_config)[0], logits_and_grads(closed, config)[0]
    )


def make_optimizer():
    context = StepContext(
        objective=ObjectiveConfig("exchange", alpha=1.0),
        inventory=Inventory((), {}),
        size_fn=lambda gates: jnp.zeros(()),  # noqa: ARG005
        budget_schedule=None,
        learning_rate=lambda step: jnp.ones(()),  # noqa: ARG005
        peak_learning_rate=1e-3,
    )
    config = OptimConfig(learning_rate=1e-3, clip_norm=1.0)
    return make_tx(config, get("exchange"), context)


@given(st.data())
@settings(max_examples=settings.default.max_examples)
def test_folding_fractional_gates_leaves_the_function_as_it_is(data):
    check_folding(data.draw(recipes()))


@pytest.mark.parametrize("cell", ["", "gru"])
def test_a_bias_of_closed_units_is_closed_where_some_of_them_have_to_stay(cell):
    positions = "none" if cell else "learned"
    style = dataclasses.replace(GPT2, cell=cell, positions=positions)
    own = dict(attention=False, state_dim=3) if cell else {}
    layer, options = LayerConfig(4, 2, 2, 5, **own), dict(attention_impl="reference")
    if not cell:
        options["num_positions"] = LENGTH
    config = decoder(9, 6, (layer, layer), style=style, **options)
    variables, names = make_variables(config)
    opened = {p: np.ones(g.shape) for p, g in flatten(variables["gates"]).items()}
    is_unit = lambda path: path[0] == "layer_0" and path[-1] != "sublayer"
    # Query heads alone are closed, and units of the others: groups stay open.
    closes = lambda path: is_unit(path) and path[-1] != "kv_heads"
    gates = {p: np.where(closes(p), 0.0, gate) for p, gate in opened.items()}
    stays = lambda path, gate: np.arange(gate.size) % 2 if path[-1] == "mlp" else gate
    kept = {p: stays(p, gate) if closes(p) else gate for p, gate in opened.items()}
    small, small_config, _ = shrink(variables, names, gates, config, make_plan(kept))
    closed = {"params": variables["params"], "gates": as_tree(gates)}
    assert small_config.layers[0].mlp_dim == 2
    inputs = draw_inputs(config)
    expected = logits_of(config, closed, inputs)
    all_close(logits_of(small_config, small, inputs), expected)


def test_moments_of_folded_weights_are_those_of_their_new_gradients():
    config = decoder(7, 6, (LayerConfig(4, 2, 2, 5),), attention_impl="reference")
    variables, names = make_variables(config)
    source = np.random.default_rng(0)
    shapes = flatten(variables["gates"])
    gates = {p: source.uniform(0.3, 1.0, g.shape) for p, g in shapes.items()}
    closed = {"params": variables["params"], "gates": as_tree(gates)}
    small, small_config, plan = shrink(variables, names, gates, config)

    tx = optax.partition(
        {"weights": optax.scale_by_adam(), "gates": optax.scale_by_adam()},
        {"params": "weights", "gates": "gates"},
    )
    _, grads = logits_and_grads(closed, config)
    _, state = tx.update(grads, tx.init(closed), closed)
    state = jax.device_get(state)
    folded = fold_moments(state, names, flatten(as_tree(gates)))
    carried = carry_state(tx, folded, small, names, plan)
    _, grads = logits_and_grads(small, small_config)
    _, fresh = tx.update(grads, tx.init(small), small)
    all_close(carried, jax.device_get(fresh), rtol=1e-3, atol=1e-7)


@given(st.data())
def test_a_second_cut_by_the_same_gates_finds_nothing(data):
    config = data.draw(recipes())
    gates = data.draw(hard_gates(config))
    variables, names = make_variables(config)
    small, small_config, _ = shrink(variables, names, gates, config)
    small_names = axis_names(small_config.abstract_variables())
    ones = {path: np.ones(gate.shape) for path, gate in flatten(small["gates"]).items()}
    again, again_config, plan = shrink(small, small_names, ones, small_config)
    assert plan.is_empty
    assert again_config == small_config
    jax.tree.map(np.testing.assert_array_equal, again, small)


@given(st.data())
def test_the_shapes_left_are_those_of_a_model_of_that_config(data):
    config = data.draw(recipes())
    gates = data.draw(hard_gates(config))
    variables, names = make_variables(config)
    small, small_config, _ = shrink(variables, names, gates, config)
    fresh = nn.meta.unbox(small_config.abstract_variables())
    shapes = lambda tree: {path: leaf.shape for path, leaf in flatten(tree).items()}
    assert shapes(small["params"]) == shapes(fresh["params"])
    assert shapes(small["gates"]) == shapes(fresh.get("gates", {}))
