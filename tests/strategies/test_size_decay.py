"""What the decay of size promises: whole units reach exact zero, by their price."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_strategies import INVENTORY, step_context, weights_tree

from slimjax.budget.limits import Limits
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.size import make_size_fn
from slimjax.strategies import get
from slimjax.strategies.base import find_state
from slimjax.strategies.groups import unit_sums
from slimjax.strategies.size_decay import (
    STATIC,
    SizeDecayState,
    alive_gates,
    relative_sizes,
    size_decay,
    unit_rms,
)
from slimjax.trees import flatten

MLP = ("layer_0", "mlp", "mlp")
GROUPS = ("layer_0", "attention", "kv_heads")
SIZES = {path: 1.0 for path in INVENTORY.gates if path[-1] != SUBLAYER}


def shrink(tx, params, steps=1):
    update, state = jax.jit(tx.update), tx.init(params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    for _ in range(steps):
        updates, state = update(zeros, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_the_root_mean_square_of_a_unit_falls_by_rate_times_price():
    params = {"params": weights_tree()}
    before = unit_rms(INVENTORY, flatten(params["params"]))[MLP]
    threshold = float(np.median(before))
    tx = size_decay(INVENTORY, SIZES, 0.5, 2 * threshold)
    after, _ = shrink(tx, params)
    rms = unit_rms(INVENTORY, flatten(jax.device_get(after["params"])))[MLP]
    expected = np.maximum(before - threshold, 0.0)
    np.testing.assert_allclose(rms, expected, atol=1e-5)
    gone = np.flatnonzero(before < threshold)
    assert 0 < len(gone) < 16
    down = np.asarray(after["params"]["layer_0"]["mlp"]["down"])
    np.testing.assert_array_equal(down[gone], 0.0)  # Exactly.
    assert (down[np.flatnonzero(before > threshold)] != 0).all()


def test_nested_units_shrink_first_alone_and_then_with_their_group():
    params = {"params": weights_tree()}
    after, _ = shrink(size_decay(INVENTORY, SIZES, 1.0, 0.3), params)
    weights = flatten(params["params"])
    attention = {p: w for p, w in weights.items() if p[1:2] == ("attention",)}
    square = lambda w: (w**2).sum()
    query, out = (attention[("layer_0", "attention", n)] for n in ("query", "out"))
    key, value = (attention[("layer_0", "attention", n)] for n in ("key", "value"))
    for group in range(3):
        heads = []
        for head in (2 * group, 2 * group + 1):
            norm = ((square(query[:, head]) + square(out[head])) / 64) ** 0.5
            heads.append(out[head] * max(0.0, 1 - 0.3 / norm))
        queries = [
            query[:, h]
            * max(0.0, 1 - 0.3 / ((square(query[:, h]) + square(out[h])) / 64) ** 0.5)
            for h in (2 * group, 2 * group + 1)
        ]
        inside = [*heads, *queries, key[:, group], value[:, group]]
        norm = (sum(square(w) for w in inside) / 192) ** 0.5
        actual = after["params"]["layer_0"]["attention"]["out"][2 * group]
        expected = heads[0] * max(0.0, 1 - 0.3 / norm)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_units_that_weigh_nothing_do_not_shrink():
    size_fn = make_size_fn("kv_bytes", INVENTORY)
    sizes = relative_sizes(INVENTORY, size_fn)
    assert sizes[MLP] == 0
    assert sizes[GROUPS] > 0
    params = {"params": weights_tree()}
    after, _ = shrink(size_decay(INVENTORY, sizes, 1.0, 1e3), params)
    np.testing.assert_array_equal(
        after["params"]["layer_0"]["mlp"]["up"],
        params["params"]["layer_0"]["mlp"]["up"],
    )
    assert not np.any(after["params"]["layer_0"]["attention"]["out"])
    params_sizes = relative_sizes(INVENTORY, make_size_fn("params", INVENTORY))
    assert params_sizes[MLP] == pytest.approx(1.0, rel=0.01)


def test_a_budget_is_met_and_then_nothing_shrinks():
    context = step_context(strategy="size_decay", budget="60%")
    tx = get("size_decay").make_weight_tx(context)
    params, state = shrink(tx, {"params": weights_tree()}, 400)
    alive = unit_sums(
        INVENTORY, {p: abs(w) for p, w in flatten(params["params"]).items()}
    )
    gates = INVENTORY.open_gates() | {
        p: np.sign(np.asarray(s)) for p, s in alive.items()
    }
    size = float(context.size_fn({"gates": gates}))
    assert 0.3 < size <= 0.6
    assert find_state(state, SizeDecayState).num_steps == 400
    again, state = shrink(tx, params)  # Within the budget, and alpha from anew.
    assert find_state(state, SizeDecayState).alpha == 0
    jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.mark.parametrize("objective", [{"alpha": 1e3}, {"budget": "30%"}])
@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (Limits(frozen=("layer_0.mlp",)), "mlp"),
        (Limits(frozen=("layer_0.attention.heads",)), "attention"),
        (Limits(units=("mlp",)), "attention"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_may_not_be_removed_does_not_shrink(objective, limits, kept):
    context = step_context(strategy="size_decay", **objective)
    context = dataclasses.replace(context, limits=limits)
    tx = get("size_decay").make_weight_tx(context)
    params = {"params": weights_tree()}
    after, _ = shrink(tx, params, 60)
    layer, before = after["params"]["layer_0"], params["params"]["layer_0"]
    jax.tree.map(np.testing.assert_array_equal, layer[kept], before[kept])
    (other,) = {"mlp", "attention"} - {kept}
    writer = {"mlp": "down", "attention": "out"}[other]
    assert np.abs(layer[other][writer]).max() < np.abs(before[other][writer]).max()


def test_frozen_units_without_weights_count_as_open():
    params = {"params": jax.tree.map(jnp.zeros_like, weights_tree())}
    limits = Limits(frozen=("layer_0.mlp",))
    alive = flatten(alive_gates(INVENTORY, params, limits)["gates"])
    assert alive[MLP].all()
    assert not alive[GROUPS].any()


def test_numbers_may_be_injected():
    make = optax.inject_hyperparams(size_decay, static_args=STATIC)
    tx = make(INVENTORY, SIZES, learning_rate=optax.constant_schedule(0.0), alpha=1.0)
    params = {"params": weights_tree()}
    still, state = shrink(tx, params)
    jax.tree.map(np.testing.assert_array_equal, still, params)
    assert set(state.hyperparams) == {"learning_rate", "alpha"}
