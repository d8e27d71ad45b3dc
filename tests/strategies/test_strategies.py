"""What strategies promise: who is cheap goes first, at costs that were measured."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slimjax import strategies
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.objective.config import STRATEGIES, ObjectiveConfig
from slimjax.objective.limits import UNITS, Limits
from slimjax.objective.price import GateMoments
from slimjax.objective.size import make_size_fn, take_inventory
from slimjax.strategies.base import SeamContext, StepContext, find_state
from slimjax.trees import unflatten

CONFIG = ModelConfig(11, 8, (LayerConfig(6, 3, 4, 16),))
INVENTORY = take_inventory(abstract_variables(CONFIG), 8)
WHOLE = float(make_size_fn("params", INVENTORY)(INVENTORY.open_gates()))


def gates_tree(value: float = 1.0) -> dict:
    fill = lambda shape: jnp.full(shape, value, jnp.float32)
    return unflatten({path: fill(shape) for path, shape in INVENTORY.gates.items()})


def step_context(**objective) -> StepContext:
    size_fn = make_size_fn("params", INVENTORY)
    config = ObjectiveConfig(**objective)
    goal = config.budget_size(WHOLE) / WHOLE if config.has_budget else None
    return StepContext(
        objective=config,
        size_fn=lambda params: size_fn(params["gates"]) / WHOLE,
        budget_schedule=None if goal is None else optax.constant_schedule(goal),
        learning_rate=optax.constant_schedule(1.0),
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_named_in_the_config_can_be_had(name):
    strategy = strategies.get(name)
    asked = {} if name == "none" else {"alpha": 1.0}
    tx = strategy.make_gate_tx(step_context(strategy=name, **asked))
    params = {"gates": gates_tree()}
    updates, _ = tx.update(
        jax.tree.map(jnp.zeros_like, params), tx.init(params), params
    )
    assert jax.tree.structure(updates) == jax.tree.structure(params)


def exchange_context(damage: dict) -> SeamContext:
    """Returns a context whose loss is the sum of the damage of all closed units."""
    second = unflatten(
        {path: jnp.asarray(2 * damage[path] * 3.0) for path in INVENTORY.gates}
    )
    state = ({"other": 1}, GateMoments(jnp.int32(10**6), {"gates": second}))

    def probe(gates: dict) -> float:
        closed = (((1 - gate) * damage[path]).sum() for path, gate in gates.items())
        return 5.0 + float(sum(closed))

    limits = Limits(units=UNITS)
    return SeamContext(INVENTORY, {"gates": gates_tree()}, state, probe, 0, limits)


def test_costs_of_exchange_are_the_measured_ones_whatever_the_moments_scale():
    source = np.random.default_rng(1)
    damage = {p: source.exponential(0.1, s) for p, s in INVENTORY.gates.items()}
    costs = strategies.get("exchange").judge(exchange_context(damage))
    sublayers = [damage["layer_0", name, "sublayer"] for name in ("attention", "mlp")]
    assert costs.pop(("layer_0", "layer")) == pytest.approx(sum(sublayers))
    assert costs.keys() == damage.keys()
    for path, cost in costs.items():
        np.testing.assert_array_equal(
            np.argsort(cost.ravel()), np.argsort(damage[path].ravel())
        )
        if path[-1] not in ("mlp", "embed"):
            np.testing.assert_allclose(cost, damage[path], rtol=1e-6)
    path = ("layer_0", "mlp", "mlp")
    cheapest = np.sort(costs[path])[: len(costs[path]) // 2]
    expected = np.sort(damage[path])[: len(damage[path]) // 2]
    assert cheapest.sum() == pytest.approx(expected.sum(), rel=1e-3)


def test_the_price_of_size_closes_gates_in_the_direction_of_their_size():
    context = step_context(strategy="size_penalty", alpha=1.0, gate_learning_rate=0.1)
    tx = strategies.get("size_penalty").make_gate_tx(context)
    params = {"gates": gates_tree()}
    state = tx.init(params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    for _ in range(3):
        updates, state = tx.update(zeros, state, params)
        params = optax.apply_updates(params, updates)
    mlp = params["gates"]["layer_0"]["mlp"]["mlp"]
    whole = params["gates"]["layer_0"]["mlp"]["sublayer"]
    assert (np.asarray(mlp) < 1).all()
    assert whole < mlp[0]  # All of it weighs more than a sixteenth of it.


def test_gates_never_leave_the_unit_interval():
    context = step_context(strategy="size_penalty", alpha=100.0, gate_learning_rate=1.0)
    tx = strategies.get("size_penalty").make_gate_tx(context)
    params = {"gates": gates_tree()}
    state = tx.init(params)
    for sign in (1.0, -1.0, 1.0):
        grads = jax.tree.map(lambda g, s=sign: jnp.full_like(g, s * 50), params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for gate in jax.tree.leaves(params):
            assert (np.asarray(gate) >= 0).all()
            assert (np.asarray(gate) <= 1).all()


def test_the_price_of_a_budget_rises_until_the_budget_is_met():
    context = step_context(
        strategy="size_penalty", budget="50%", gate_learning_rate=0.02
    )
    tx = strategies.get("size_penalty").make_gate_tx(context)
    params = {"gates": gates_tree()}
    update, state = jax.jit(tx.update), tx.init(params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    sizes = []
    for _ in range(200):
        updates, state = update(zeros, state, params)
        params = optax.apply_updates(params, updates)
        sizes.append(float(context.size_fn(params)))
    assert sizes[-1] <= 0.5
    assert min(np.diff(sizes)) <= 0


def test_a_state_is_found_wherever_it_stands():
    moments = GateMoments(jnp.int32(1), {})
    assert find_state([{"a": (moments, 3)}], GateMoments) is moments
    with pytest.raises(LookupError):
        find_state([1, 2], GateMoments)
