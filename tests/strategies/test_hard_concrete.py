"""What stochastic gates promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_strategies import gates_tree, seam_context, step_context

from slimjax.strategies import get
from slimjax.strategies.base import find_state
from slimjax.strategies.hard_concrete import (
    LARGEST,
    LagrangianState,
    deterministic_gates,
    open_probability,
    sample_gates,
)

KEY = jax.random.key(0)


def mlp(value) -> dict:
    return {"mlp": {"mlp": jnp.full(20_000, value, jnp.float32)}}


@pytest.mark.parametrize("value", [-0.3, 0.2, 0.5, 1.0])
def test_gates_are_open_as_often_as_is_said(value):
    drawn = np.asarray(sample_gates(mlp(value), KEY)["mlp"]["mlp"])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    said = float(open_probability(mlp(value))["mlp"]["mlp"][0])
    # Four standard deviations of a mean of 20,000 draws.
    assert (drawn > 0).mean() == pytest.approx(said, abs=2 / 20_000**0.5)


def test_deterministic_gates_are_exact_at_the_ends():
    settled = lambda value: float(deterministic_gates(mlp(value))["mlp"]["mlp"][0])
    assert settled(1.0) == settled(LARGEST) == 1.0
    assert settled(0.0) == settled(1 - LARGEST) == 0.0
    assert settled(0.5) == pytest.approx(0.5)


def test_each_step_draws_anew_and_the_same_key_the_same():
    one, same = sample_gates(gates_tree(0.5), KEY), sample_gates(gates_tree(0.5), KEY)
    jax.tree.map(np.testing.assert_array_equal, one, same)
    other = sample_gates(gates_tree(0.5), jax.random.fold_in(KEY, 1))
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def test_heads_that_are_alone_in_their_group_are_never_closed():
    gates = {"attention": {"heads": jnp.zeros(3), "kv_heads": jnp.zeros(3)}}
    for found in (sample_gates(gates, KEY), deterministic_gates(gates)):
        np.testing.assert_array_equal(found["attention"]["heads"], 1.0)
    assert not deterministic_gates(gates)["attention"]["kv_heads"].any()


def test_the_lagrangian_brings_the_expected_size_to_the_budget():
    asked = dict(strategy="hard_concrete", budget="50%", gate_learning_rate=0.01)
    context = dataclasses.replace(
        step_context(**asked), budget_schedule=optax.linear_schedule(1.0, 0.5, 200)
    )
    tx = get("hard_concrete").make_gate_tx(context)

    def step(carry, key):
        params, state = carry
        noise = lambda g: 0.05 * jax.random.normal(key, g.shape) - 0.01  # Stay open!
        updates, state = tx.update(jax.tree.map(noise, params), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = {"gates": gates_tree()}
    keys = jax.random.split(KEY, 500)
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0])
    params, state = run((params, tx.init(params)))
    expected = context.size_fn({"gates": open_probability(params["gates"])})
    assert float(expected) == pytest.approx(0.5, abs=0.1)
    assert float(find_state(state, LagrangianState).quadratic) > 0
    for gate in jax.tree.leaves(params):
        assert 1 - LARGEST - 1e-6 <= gate.min() <= gate.max() <= LARGEST + 1e-6


def test_at_a_price_units_with_a_closed_deterministic_gate_are_removed():
    gates = gates_tree()
    gates["layer_0"]["mlp"]["mlp"] = jnp.linspace(-0.2, 1.3, 16)
    context = seam_context({"gates": gates}, strategy="hard_concrete", alpha=1.0)
    costs = get("hard_concrete").cost(context)[("layer_0", "mlp", "mlp")]
    np.testing.assert_array_equal(costs == 0, np.linspace(-0.2, 1.3, 16) <= 1e-6)
