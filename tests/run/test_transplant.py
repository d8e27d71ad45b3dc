"""A branch takes over what the run before knows, whatever its optimizer is made of."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from stages import make_stage

from slimjax.nn.axes import to_host
from slimjax.objective.price import GateMoments
from slimjax.run.transplant import transplant
from slimjax.strategies.base import find_state
from slimjax.strategies.hard_concrete import LagrangianState, deterministic_gates
from slimjax.strategies.size_decay import SizeDecayState
from slimjax.train.state import TrainState, init_params

DENSE = (("objective.strategy", "none"), ("objective.budget", ""))
PRICED = (("objective.budget", ""), ("objective.alpha", "0.1"))
STEP = 7


def aged(stage) -> TrainState:
    """Returns a state of 7 steps, all of whose moments are 0.25."""
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    state = to_host(stage.layout.place_unstacked(state))
    age = lambda x: np.full_like(x, STEP if x.dtype.kind == "i" else 0.25)
    opt_state = jax.tree.map(age, state.opt_state)
    return dataclasses.replace(state, step=np.int32(STEP), opt_state=opt_state)


def nodes(tree, kind) -> list:
    is_kind = lambda node: isinstance(node, kind)
    return [n for n in jax.tree.leaves(tree, is_leaf=is_kind) if is_kind(n)]


def branch(before: tuple, after: tuple) -> TrainState:
    old = make_stage(*before)
    return transplant(make_stage(*after), old, aged(old))


CHAINS = {
    "no clipping": (("optim.clip_norm", "0"),),
    "l1": (("optim.l1", "0.01"),),
    "l2": (("optim.l2", "0.01"),),
    "size_decay": (("objective.strategy", "size_decay"), ("objective.budget", "60%")),
    "size_decay at a price": (("objective.strategy", "size_decay"), *PRICED),
}


@pytest.mark.parametrize("change", CHAINS.values(), ids=CHAINS)
def test_moments_and_clocks_stay_when_the_chain_changes(change):
    opt_state = branch(DENSE, (*DENSE, *change)).opt_state
    (adam,) = nodes(opt_state, optax.ScaleByAdamState)
    assert adam.count == STEP
    for moment in jax.tree.leaves((adam.mu, adam.nu)):
        np.testing.assert_array_equal(moment, np.float32(0.25))
    clocks = nodes(opt_state, optax.ScaleByScheduleState)
    assert {int(clock.count) for clock in clocks} == {STEP}
    assert {int(own.num_steps) for own in nodes(opt_state, SizeDecayState)} <= {STEP}
    for own in nodes(opt_state, optax.InjectStatefulHyperparamsState):
        assert {int(n) for n in jax.tree.leaves(own.hyperparams_states)} == {STEP}


def test_moments_that_are_new_start_with_their_count():
    opt_state = branch((*DENSE, ("optim.name", "momentum")), DENSE).opt_state
    adam = find_state(opt_state, optax.ScaleByAdamState)
    assert adam.count == 0
    assert find_state(opt_state, optax.ScaleByScheduleState).count == STEP


@pytest.mark.parametrize("strategy", ["size_penalty", "hard_concrete"])
def test_the_budget_of_a_branch_is_at_its_step(strategy):
    opt_state = branch(DENSE, (("objective.strategy", strategy),)).opt_state
    assert {int(s.num_steps) for s in nodes(opt_state, LagrangianState)} <= {STEP}
    clocks = nodes(opt_state, optax.ScaleByScheduleState)
    assert len(clocks) == 2 + (strategy == "size_penalty")
    assert {int(clock.count) for clock in clocks} == {STEP}


def test_moments_of_gates_outlive_gates_that_may_move_from_now_on():
    wider = (("resize.units", '["heads", "kv_heads", "mlp", "embed"]'),)
    moments = find_state(branch((), wider).opt_state, GateMoments)
    assert moments.num_seen == STEP
    for moment in jax.tree.leaves(moments.second):
        np.testing.assert_array_equal(moment, np.float32(0.25))


def test_a_branch_has_a_price_of_its_own():
    decay = ("objective.strategy", "size_decay")
    before, after = (*PRICED, decay), (*PRICED, decay, ("objective.alpha", "0.2"))
    kind = optax.InjectStatefulHyperparamsState
    alpha = find_state(branch(before, after).opt_state, kind).hyperparams["alpha"]
    np.testing.assert_allclose(alpha, 0.2)


def test_gates_that_are_drawn_become_those_of_the_evaluation():
    stage = make_stage(("objective.strategy", "hard_concrete"))
    old = aged(stage)
    shift = lambda gate: np.linspace(-0.4, 1.4, gate.size).reshape(gate.shape)
    gates = jax.tree.map(lambda g: shift(g).astype(np.float32), old.params["gates"])
    old = dataclasses.replace(old, params={**old.params, "gates": gates})
    kept = transplant(stage, stage, old)
    jax.tree.map(np.testing.assert_array_equal, kept.params["gates"], gates)
    state = transplant(make_stage(("objective.strategy", "size_penalty")), stage, old)
    fixed = to_host(deterministic_gates(gates))
    jax.tree.map(np.testing.assert_array_equal, state.params["gates"], fixed)
    adams = nodes(state.opt_state, optax.ScaleByAdamState)
    assert sorted(int(adam.count) for adam in adams) == [0, STEP]
