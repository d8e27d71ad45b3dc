"""What a seam promises with every strategy, and how the last seam corrects the next."""

import dataclasses

import jax
import numpy as np
import pytest
from stages import make_stage, take_steps

from slimjax.data.batches import make_batch
from slimjax.errors import ConfigError, InexactError
from slimjax.nn.readout import CLOSED
from slimjax.objective.config import DENSE, RANKING, STRATEGIES, ObjectiveConfig
from slimjax.objective.size import make_size_fn, unit_sizes
from slimjax.train import seam
from slimjax.train.config import LEARNS_BITS, make_run_config
from slimjax.train.decide import budget_at, measure_costs
from slimjax.train.history import History
from slimjax.train.probe import Probe
from slimjax.train.seam import calibrate, take_seam
from slimjax.train.seam_record import SeamRecord
from slimjax.trees import hash_tree

LAST = History(num_seams=1)  # The second of two seams is the next.


def draw(stage):
    rows = np.random.default_rng(1).integers(3, 259, (40, 9))
    return lambda i: stage.put(make_batch(rows, i, 8, seed=0))


OF_UNITS = [name for name in STRATEGIES if name not in (*DENSE, *LEARNS_BITS)]


@pytest.mark.parametrize("name", OF_UNITS)
def test_every_strategy_trains_and_meets_its_budget(name):
    stage = make_stage(
        ("objective.strategy", name), ("objective.gate_learning_rate", "0.1")
    )
    state, losses = take_steps(stage, 6)
    assert losses[-1] < losses[0]
    small, small_state, record = take_seam(stage, state, draw(stage), LAST)
    assert record.taken
    assert np.isfinite(record.true_loss_change)
    assert abs(record.true_loss_change) < 1
    budget = 0.6 * stage.blueprint.sizes["params"]
    assert small.blueprint.sizes["params"] <= budget
    sizes = unit_sizes(
        lambda gates: stage_size(small, gates), small.blueprint.inventory.open_gates()
    )
    units = [size for path, size in sizes.items() if path[-1] in ("mlp", "kv_heads")]
    assert budget - small.blueprint.sizes["params"] <= max(0.01 * budget, min(units))
    opened = jax.tree.leaves(small_state.params["gates"])
    assert all((np.asarray(gate) == 1).all() for gate in opened)
    for leaf in jax.tree.leaves(small_state):
        assert np.isfinite(np.asarray(leaf)).all()
    is_nats = name == "exchange"
    (layer,) = small.blueprint.model.layers
    assert (layer.attention and layer.mlp) or is_nats  # It has measured what to spare.
    assert (record.predicted_loss_change is not None) is is_nats
    assert (record.alpha is None) is (name in RANKING)


def test_a_cut_that_computes_something_else_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(seam, "CLOSED_IS_CUT", -1.0)
    stage = make_stage(("objective.strategy", "magnitude"))
    state, _ = take_steps(stage, 1)
    with pytest.raises(InexactError, match=r"^The seam at step 1: logits .*, more th"):
        take_seam(stage, state, draw(stage), LAST)
    assert InexactError.exit_code == 1


def with_large_logits(state):
    """Returns a state whose logits are 1e5 times those of another."""
    params = dict(state.params["params"])
    params["norm"] = jax.tree.map(lambda leaf: 1e5 * leaf, params["norm"])
    return dataclasses.replace(state, params={**state.params, "params": params})


def test_logits_may_differ_by_what_float32_makes_of_their_size():
    stage = make_stage(("objective.strategy", "magnitude"))
    state = with_large_logits(take_steps(stage, 1)[0])
    *_, record = take_seam(stage, state, draw(stage), LAST)
    assert record.taken


def test_a_wrong_cut_of_a_model_with_large_logits_is_refused(monkeypatch):
    def cut_wrongly(*given, **options):
        stage, state = right(*given, **options)
        params = jax.tree.map(lambda leaf: 1.001 * leaf, state.params["params"])
        params = {**state.params, "params": params}
        return stage, dataclasses.replace(state, params=params)

    right = seam.cut_state
    monkeypatch.setattr(seam, "cut_state", cut_wrongly)
    stage = make_stage(("objective.strategy", "magnitude"))
    state, _ = take_steps(stage, 1)
    for start in (state, with_large_logits(state)):
        with pytest.raises(InexactError, match="differ by"):
            take_seam(stage, start, draw(stage), LAST)


def test_no_closed_class_and_no_number_that_is_none_hides_a_difference():
    one = np.array([[3.0, CLOSED], [-100.0, 2 * CLOSED]], np.float32)
    difference, part = seam._compare(one, one + np.array([1.0, 0.0], np.float32))
    assert (difference, part) == (1.0, pytest.approx(0.01))
    for value in (np.nan, np.inf):
        assert np.isnan(seam._compare(np.float32([1.0, value]), np.float32([1, 2]))[1])


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_several_budgets_rank_units_that_weigh_nothing_in_the_first(name):
    budgets = '{"kv_bytes": "50%", "params": "80%"}'
    asked = [("objective.budget", ""), ("objective.budgets", budgets)]
    stage = make_stage(("objective.strategy", name), *asked)
    state, _ = take_steps(stage, 3)
    probe = Probe(stage, state.variables, draw(stage)(0))
    costs, _ = measure_costs(stage.blueprint, state, probe, LAST)
    units = costs["layer_0", "mlp", "mlp"]  # They fill no cache.
    assert len(set(units)) > len(units) / 2
    small, *_ = take_seam(stage, state, draw(stage), LAST)
    for measure, part in (("kv_bytes", 0.5), ("params", 0.8)):
        assert small.blueprint.sizes[measure] <= part * stage.blueprint.sizes[measure]
    assert small.blueprint.sizes["params"] >= 0.78 * stage.blueprint.sizes["params"]


def stage_size(stage, gates) -> float:
    return float(make_size_fn("params", stage.blueprint.inventory)(gates))


def test_budgets_fall_evenly_from_the_size_that_a_seam_finds():
    blueprint = make_stage(("objective.strategy", "magnitude")).blueprint
    assert budget_at(blueprint, 0) == pytest.approx(0.6**0.5)
    assert budget_at(blueprint, 1) == 0.6
    for part, goal in ((0.7, (0.7 * 0.6) ** 0.5), (0.5, 0.6)):
        start = {m: size / part for m, size in blueprint.sizes.items()}
        smaller = dataclasses.replace(blueprint, given_start_sizes=start)
        assert budget_at(smaller, 0) == pytest.approx(goal)


def test_sampled_gates_are_a_function_of_seed_and_step():
    stage = make_stage(("objective.strategy", "hard_concrete"))
    state, losses = take_steps(stage, 3)
    again, same = take_steps(stage, 3)
    assert hash_tree(jax.device_get(state)) == hash_tree(jax.device_get(again))
    assert losses == same
    open_gates = jax.device_get(stage.deterministic(state).params["gates"])
    assert all((g >= 0).all() and (g <= 1).all() for g in jax.tree.leaves(open_gates))


def test_a_price_does_not_rise_faster_than_its_ratio_allows():
    free = make_stage(("resize.max_seams", "3"))
    slow = make_stage(("resize.max_seams", "3"), ("objective.max_price_ratio", "1.5"))
    state, _ = take_steps(free, 6)
    *_, fast = take_seam(free, state, draw(free), History(num_seams=1))
    before = fast.alpha / 10
    *_, capped = take_seam(slow, state, draw(slow), History(num_seams=1, alpha=before))
    assert capped.alpha == pytest.approx(1.5 * before)
    assert capped.after["params"] > fast.after["params"]
    *_, last = take_seam(slow, state, draw(slow), History(num_seams=2, alpha=before))
    assert last.after["params"] <= 0.6 * slow.blueprint.sizes["params"]  # A promise.


def test_the_correction_is_the_ratio_of_losses_within_its_limits():
    plain = SeamRecord(
        step=4,
        strategy="exchange",
        taken=True,
        reason="pays",
        alpha=1.0,
        alphas={},
        predicted_loss_change=0.1,
        calibration=1.0,
        closed={},
        bits={},
        before={},
    )
    record = lambda **changes: dataclasses.replace(plain, **changes)
    assert calibrate(record(true_loss_change=0.2)) == pytest.approx(2.0)
    assert calibrate(record(true_loss_change=-1.0)) == seam.CALIBRATIONS[0]
    assert calibrate(record(true_loss_change=9.0)) == seam.CALIBRATIONS[1]
    assert calibrate(record(taken=False, calibration=1.5)) == 1.5
    unknown = record(predicted_loss_change=None, true_loss_change=1.0)
    assert calibrate(unknown) == 1.0


def test_costs_are_corrected_by_what_the_last_seam_showed(monkeypatch):
    stage = make_stage()
    state, _ = take_steps(stage, 6)
    decide = lambda ratio: take_seam(
        stage, state, draw(stage), History(num_seams=1, calibration=ratio)
    )[2]
    monkeypatch.setattr(seam, "_why_not", lambda *_: "only to be told")
    one, double = decide(1.0), decide(2.0)
    for name in ("alpha", "predicted_loss_change"):
        assert getattr(double, name) == pytest.approx(2 * getattr(one, name), rel=1e-3)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (dict(strategy="wanda", alpha=1.0), "takes no price"),
        (dict(strategy="random"), "needs config.objective.budget"),
        (dict(strategy="scratch", budget="50%"), "takes no alpha and no budget"),
        (dict(strategy="magnitud", budget="50%"), "Did you mean magnitude"),
        (dict(strategy="taylor", budget="50%", max_price_ratio=2.0), "in nats"),
        (dict(strategy="exchange", budget="50%", max_price_ratio=0.5), "above 1"),
        (dict(strategy="hard_concrete"), "needs a price or a budget"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, words):
    with pytest.raises(ConfigError, match=words):
        ObjectiveConfig(**asked)


def test_scratch_demands_an_architecture():
    with pytest.raises(ConfigError, match=r"config\.model\.architecture"):
        make_run_config({"objective": {"strategy": "scratch"}})
    blocks = {"objective": {"strategy": "scratch"}, "model": {"architecture": "a.json"}}
    assert make_run_config(blocks).seam_steps == ()
