"""What depths do inside the step and at seams, whatever the model learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_strategies import INVENTORY, gates_tree, seam_context, step_context

from slimjax.budget.bits import BitPrices
from slimjax.budget.decision import BitChoice
from slimjax.budget.depths import depths_of, make_depth_size_fn
from slimjax.budget.limits import Limits
from slimjax.budget.width import WidthChooser
from slimjax.nn.depths import DEPTHS
from slimjax.objective.inventory import uniform_bits
from slimjax.objective.price import BudgetPriceState
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import make_size_fn
from slimjax.strategies import get
from slimjax.strategies.base import find_state
from slimjax.trees import flatten, unflatten

STATES = (16, 8, 4, 2)
BYTES = make_size_fn("bytes", INVENTORY)
START = float(BYTES(INVENTORY.open_gates(), uniform_bits(INVENTORY, 16)))
MLP, VECTOR = ("layer_0", "mlp", "mlp"), ("norm", "scale")


def context(**objective):
    of_depths = make_depth_size_fn("bytes", BYTES, INVENTORY, 0)
    return dataclasses.replace(
        step_context(strategy="learned_bits", size="bytes", **objective),
        depth_size_fn=lambda variables: of_depths(variables[DEPTHS]) / START,
        quantize=QuantizeConfig(STATES),
    )


def descend(context, num_steps, slope=0.0):
    """Returns depths after steps in which the loss has a slope, and the state."""
    tx = get("learned_bits").make_depth_tx(context)
    params = {DEPTHS: jax.tree.map(jnp.asarray, depths_of(uniform_bits(INVENTORY, 16)))}
    grads = jax.tree.map(lambda depth: jnp.full_like(depth, slope), params)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=num_steps)[0])
    params, state = run((params, tx.init(params)))
    return flatten(params[DEPTHS]), state


def test_a_price_takes_bits_until_nothing_is_left_of_what_may_go():
    depths, _ = descend(context(alpha=1.0, gate_learning_rate=0.02), 60)
    np.testing.assert_array_equal(depths[MLP], 0.0)
    np.testing.assert_array_equal(depths["tokens", "embedding"], 2.0)
    np.testing.assert_array_equal(depths[VECTOR], 8.0)


def test_who_matters_more_than_its_bytes_keeps_its_bits():
    depths, _ = descend(context(alpha=1.0), 10, slope=-1.0)
    assert all((own == 16).all() for own in depths.values())


def test_the_price_of_a_budget_rises_until_the_bytes_are_met():
    asked = context(budget=0.4 * START, gate_learning_rate=0.01)
    asked = dataclasses.replace(asked, budget_schedule=optax.constant_schedule(0.4))
    depths, state = descend(asked, 100)
    assert asked.depth_size_fn({DEPTHS: unflatten(depths)}) <= 0.4
    assert find_state(state, BudgetPriceState).alpha > 0


def settle(depths: dict, **objective):
    """Returns what a seam decides for learned depths."""
    params = {DEPTHS: unflatten(depths), "gates": gates_tree()}
    seam = dataclasses.replace(
        seam_context(params, strategy="learned_bits", size="bytes", **objective),
        quantize=QuantizeConfig(STATES),
        start_bytes=START,
    )
    strategy = get("learned_bits")
    prices = BitPrices(INVENTORY, strategy.bit_cost(seam), 0)
    size_fn = lambda gates, bits: np.array([float(BYTES(gates, bits)) / START])
    bits = uniform_bits(INVENTORY, 16)
    chooser = WidthChooser(
        INVENTORY,
        size_fn,
        strategy.cost(seam),
        Limits(),
        bits,
        BitChoice(prices, 0, START),
    )
    if "alpha" in objective:
        return chooser.at_price(objective["alpha"])
    return chooser.at_budget(objective["budget"] / START)


def learned() -> dict:
    depths = {k: own.astype(float) for k, own in uniform_bits(INVENTORY, 8).items()}
    depths[MLP] = np.linspace(0.0, 10.0, 16)
    return depths


def test_at_its_price_each_unit_takes_a_state_next_to_its_depth():
    decision = settle(learned(), alpha=0.3)
    gone = decision.gates[MLP] == 0
    np.testing.assert_array_equal(gone, learned()[MLP] < 0.8)
    for depth, bits in zip(
        learned()[MLP][~gone], decision.bits[MLP][~gone], strict=True
    ):
        below, above = (
            [s for s in STATES if s <= depth],
            [s for s in STATES if s >= depth],
        )
        assert bits in (max(below, default=2), min(above))
    assert (np.diff(decision.bits[MLP][~gone]) >= 0).all()
    np.testing.assert_array_equal(decision.bits[VECTOR], 8)


@pytest.mark.parametrize("part", [0.25, 0.5])
def test_a_budget_is_met_by_what_was_learned_and_filled(part):
    decision = settle(learned(), budget=part * START)
    assert part - 0.01 <= decision.sizes[0] <= part
    assert (np.diff(decision.gates[MLP]) >= 0).all()  # The deepest stay.
