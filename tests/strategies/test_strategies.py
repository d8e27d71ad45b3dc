"""What strategies promise: who is cheap goes first, at costs that were measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slimjax import strategies
from slimjax.budget.limits import UNITS, Limits
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.objective.config import DENSE, STRATEGIES, ObjectiveConfig
from slimjax.objective.inventory import Inventory, take_inventory
from slimjax.objective.price import GateMoments
from slimjax.objective.size import make_size_fn, unit_sizes
from slimjax.strategies.base import SeamContext, StepContext, find_state
from slimjax.trees import unflatten

CONFIG = decoder(11, 8, (LayerConfig(6, 3, 4, 16),))
INVENTORY = take_inventory(CONFIG.abstract_variables(), CONFIG.uses({"": 8}))
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
        inventory=INVENTORY,
        size_fn=lambda params: size_fn(params["gates"]) / WHOLE,
        budget_schedule=None if goal is None else optax.constant_schedule(goal),
        learning_rate=optax.constant_schedule(1.0),
        peak_learning_rate=0.1,
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_named_in_the_config_can_be_had(name):
    strategy = strategies.get(name)
    asked = {} if name in DENSE else {"budget": "50%"}
    tx = strategy.make_gate_tx(step_context(strategy=name, **asked))
    params = {"gates": gates_tree()}
    updates, _ = tx.update(
        jax.tree.map(jnp.zeros_like, params), tx.init(params), params
    )
    assert jax.tree.structure(updates) == jax.tree.structure(params)


def weights_tree(seed: int = 0) -> dict:
    source = np.random.default_rng(seed)
    draw = lambda shape: source.standard_normal(shape).astype(np.float32)
    return unflatten({leaf.path: draw(leaf.shape) for leaf in INVENTORY.leaves})


def moments_tree() -> dict:
    source, moments = np.random.default_rng(5), {}
    for leaf in INVENTORY.leaves:
        if len(leaf.axes) > 1 and leaf.axes[-1] == "embed" and leaf.axes[0] != "vocab":
            size = int(np.prod(leaf.shape[:-1]))
            rows = source.standard_normal((2 * size, size)) * np.arange(1, size + 1)
            moments[leaf.path] = rows.T @ rows
    return unflatten(moments)


def exchange_context(damage: dict) -> SeamContext:
    """Returns a context whose loss is the sum of the damage of all closed units."""
    second = unflatten(
        {path: jnp.asarray(2 * damage[path] * 3.0) for path in INVENTORY.gates}
    )
    state = ({"other": 1}, GateMoments(jnp.int32(10**6), {"gates": second}))

    def probe(gates: dict) -> float:
        closed = (((1 - gate) * damage[path]).sum() for path, gate in gates.items())
        return 5.0 + float(sum(closed))

    return seam_context({"gates": gates_tree()}, state, probe)


def never(_: dict) -> float:
    raise AssertionError("This strategy measures no losses.")


def seam_context(params, opt_state=(), probe=never, **objective) -> SeamContext:
    size_fn = make_size_fn("params", INVENTORY)
    asked = objective or {"strategy": "exchange", "budget": "50%"}
    return SeamContext(
        objective=ObjectiveConfig(**asked),
        inventory=INVENTORY,
        size_fn=lambda gates: size_fn(gates) / WHOLE,
        params=params,
        opt_state=opt_state,
        probe=probe,
        moments=moments_tree,
        seed=0,
        limits=Limits(units=UNITS),
    )


def test_costs_of_exchange_are_the_measured_ones_whatever_the_moments_scale():
    source = np.random.default_rng(1)
    damage = {p: source.exponential(0.1, s) for p, s in INVENTORY.gates.items()}
    costs = strategies.get("exchange").cost(exchange_context(damage))
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


@pytest.mark.parametrize("num_dead", [3, 8, 9, 15, 16])
def test_units_that_matter_are_not_free_because_most_others_are_dead(num_dead):
    source, path = np.random.default_rng(2), ("layer_0", "mlp", "mlp")
    damage = {p: source.exponential(0.1, s) for p, s in INVENTORY.gates.items()}
    dead = source.permutation(16)[:num_dead]
    damage[path][dead] = 0.0
    cost = strategies.get("exchange").cost(exchange_context(damage))[path]
    live = np.setdiff1d(np.arange(16), dead)
    assert (cost[dead] <= 2e-7).all()
    assert (cost[live] > 1e-4).all()
    assert (np.argsort(cost[live]) == np.argsort(damage[path][live])).all()
    if num_dead == 8:
        weakest = np.sort(damage[path][live])[:4]
        assert np.sort(cost[live])[:4].sum() == pytest.approx(weakest.sum(), rel=1e-3)


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


@pytest.mark.parametrize("name", ["magnitude", "wanda"])
def test_units_without_weights_are_the_cheapest_of_their_layer(name):
    weights = weights_tree()
    for path in (("attention", "out"), ("mlp", "down")):
        weight = weights["layer_0"][path[0]][path[1]]
        weight[3:5] = 0.0  # Two units that write nothing.
    if name == "magnitude":
        for leaf in ("gate", "up"):
            weights["layer_0"]["mlp"][leaf][:, 3:5] = 0.0
    params = {"params": weights, "gates": gates_tree()}
    context = seam_context(params, strategy=name, budget="50%")
    costs = strategies.get(name).cost(context)[("layer_0", "mlp", "mlp")]
    np.testing.assert_array_equal(costs[3:5], 0.0)
    assert (np.delete(costs, [3, 4]) > 0).all()


def test_wanda_counts_what_a_weight_reads():
    params = {"params": weights_tree(), "gates": gates_tree()}
    context = seam_context(params, strategy="wanda", budget="50%")
    costs = strategies.get("wanda").cost(context)
    for axis, writer in (("mlp", ("mlp", "down")), ("heads", ("attention", "out"))):
        weight = params["params"]["layer_0"][writer[0]][writer[1]]
        moment = moments_tree()["layer_0"][writer[0]][writer[1]]
        rows = np.abs(weight).reshape(len(moment), -1).sum(1) * np.diag(moment) ** 0.5
        expected = rows.reshape(len(weight), -1).sum(1)
        actual = costs[("layer_0", writer[0], axis)]
        np.testing.assert_allclose(actual / actual[0], expected / expected[0], 1e-6)


def test_lots_are_drawn_from_the_seed():
    params = {"params": weights_tree(), "gates": gates_tree()}
    context = seam_context(params, strategy="random", budget="50%")
    cost = strategies.get("random").cost
    one, same = cost(context), cost(context)
    other = cost(dataclasses.replace(context, seed=1))
    for path in (("layer_0", "mlp", "mlp"), ("layer_0", "attention", "kv_heads")):
        np.testing.assert_array_equal(one[path], same[path])
        assert not np.array_equal(one[path], other[path])


def test_gates_rank_units_alike_whatever_their_size():
    gates = gates_tree()
    gates["layer_0"]["mlp"]["mlp"] = jnp.linspace(0.0, 0.5, 16)
    gates["layer_0"]["mlp"]["sublayer"] = jnp.float32(0.5)
    context = seam_context({"gates": gates}, strategy="size_penalty", budget="50%")
    cost = strategies.get("size_penalty").cost
    costs = cost(context)
    sizes = unit_sizes(context.size_fn, INVENTORY.open_gates())
    mlp, groups = ("layer_0", "mlp", "mlp"), ("layer_0", "attention", "kv_heads")
    np.testing.assert_allclose(costs[mlp] / sizes[mlp], np.linspace(0, 0.25, 16))
    np.testing.assert_allclose(costs[groups] / sizes[groups], 1.0)
    priced = dataclasses.replace(
        context, objective=ObjectiveConfig("size_penalty", alpha=9.0)
    )
    assert (cost(priced)[mlp] == [0.0] + 15 * [np.inf]).all()


def test_a_state_is_found_wherever_it_stands():
    moments = GateMoments(jnp.int32(1), {})
    assert find_state([{"a": (moments, 3)}], GateMoments) is moments
    with pytest.raises(LookupError):
        find_state([1, 2], GateMoments)


def test_sublayers_outside_of_layers_are_no_layer():
    damage = {p: np.ones(s) for p, s in INVENTORY.gates.items()}
    context = exchange_context(damage)
    outside = {("fusion", "sublayer"): (), ("adapter", "sublayer"): ()}
    gates = {**context.inventory.gates, **outside}
    inventory = dataclasses.replace(context.inventory, gates=gates)
    context = dataclasses.replace(context, inventory=inventory)
    costs = strategies.get("exchange").cost(context)
    assert [path for path in costs if path[-1] == "layer"] == [("layer_0", "layer")]


def test_the_price_of_size_within_the_step_leaves_filters_alone():
    module = {"filters_0": jnp.ones(3), "mlp": jnp.ones(3)}
    params = {"gates": {"convolution": module}}
    context = dataclasses.replace(
        step_context(strategy="size_penalty", alpha=1.0),
        size_fn=lambda params: sum(map(jnp.sum, jax.tree.leaves(params))) / 6,
        inventory=Inventory((), {("convolution", axis): (3,) for axis in module}),
    )
    tx = strategies.get("size_penalty").make_gate_tx(context)
    slopes = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(slopes, tx.init(params), params)
    moved = updates["gates"]["convolution"]
    assert (moved["filters_0"] == 0).all()
    assert (moved["mlp"] < 0).all()
