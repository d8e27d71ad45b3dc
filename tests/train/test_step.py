"""What one step promises, on one device or eight."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stages import instructions, make_stage, stage_of, take_steps

from slimjax.data.batches import make_batch
from slimjax.errors import ConfigError
from slimjax.resize.plan import make_plan
from slimjax.train.cutting import cut_state, refit_state
from slimjax.train.optim_config import OptimConfig
from slimjax.train.schedules import make_schedule
from slimjax.train.state import init_params
from slimjax.train.step import make_grad_fn
from slimjax.trees import flatten, hash_tree, named_leaves, unflatten


def test_a_step_learns_and_is_repeatable():
    state, losses = take_steps(make_stage(), 8)
    assert losses[-1] < losses[0]
    again, _ = take_steps(make_stage(), 8)
    assert hash_tree(jax.device_get(state)) == hash_tree(jax.device_get(again))


def test_eight_devices_do_what_one_does():
    _, one = take_steps(make_stage(), 5)
    _, eight = take_steps(make_stage(("mesh.data", "8")), 5)
    np.testing.assert_allclose(eight, one, rtol=1e-5)


def test_parts_of_a_batch_add_up_to_the_batch():
    whole, _ = take_steps(make_stage())
    parts, _ = take_steps(make_stage(("optim.accumulation_steps", "4")))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5)
    jax.tree.map(close, whole.params["params"], parts.params["params"])


def test_parts_with_few_targets_count_less():
    def error_fn(variables, batch, key):
        del key
        weight = batch["weight"]
        nats = weight * (batch["x"] * variables["params"] - batch["y"]) ** 2
        sums = {"nats_sum": nats.sum(), "num_targets": weight.sum()}
        return nats.sum() / jnp.maximum(weight.sum(), 1.0), sums

    draw = np.random.default_rng(0)
    batch = {name: draw.normal(size=8).astype(np.float32) for name in "xy"}
    batch["weight"] = np.array([1, 1, 0, 1, 0, 1, 0, 1], np.float32)
    slope = lambda params, rows: jax.grad(
        lambda p: error_fn({"params": p}, rows, None)[0]
    )(params)
    state = types.SimpleNamespace(params=jnp.float32(0.5))
    replace = lambda _, params: types.SimpleNamespace(
        params=params, variables={"params": params}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimjax.train.step.dataclasses.replace", replace)
        grads, sums = make_grad_fn(error_fn, 2)(state, batch, None)
    assert float(sums["num_targets"]) == 5  # One part has four of them, one has one.
    assert float(grads) == pytest.approx(float(slope(state.params, batch)), rel=1e-6)


def test_smoothing_and_z_loss_change_what_is_learned_and_not_what_is_told():
    plain, told = take_steps(make_stage(), 2)
    changes = ("train.label_smoothing", "0.2"), ("train.z_loss", "0.01")
    other, also_told = take_steps(make_stage(*changes), 2)
    assert also_told[0] == pytest.approx(told[0], rel=1e-6)
    assert also_told[1] != pytest.approx(told[1], rel=1e-6)
    assert hash_tree(jax.device_get(plain)) != hash_tree(jax.device_get(other))


def test_a_teacher_leaves_no_room_for_smoothing():
    with pytest.raises(ConfigError, match=r"config\.train\.label_smoothing"):
        make_stage(("distill.teacher", "start"), ("train.label_smoothing", "0.1"))


def test_an_average_of_the_weights_follows_them():
    state, _ = take_steps(make_stage(("optim.ema_decay", "0.5")), 2)
    weights = jax.tree.leaves(state.params["params"])
    average = jax.tree.leaves(state.ema)
    assert len(weights) == len(average)
    assert any(not np.array_equal(w, a) for w, a in zip(weights, average, strict=True))


@pytest.fixture
def no_cache():
    """A program from the cache reads otherwise than one that was just compiled."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


@pytest.mark.usefixtures("no_cache")
def test_after_a_seam_the_step_is_that_of_a_fresh_model_of_that_shape():
    stage = make_stage()
    state, _ = take_steps(stage, 2)
    closed = stage.blueprint.inventory.open_gates()
    closed["layer_0", "mlp", "mlp"][::3] = 0.0
    closed["layer_0", "attention", "kv_heads"][1] = 0.0
    small, small_state = cut_state(stage, state, closed, make_plan(closed))
    fresh = stage_of(small.blueprint.run, small.blueprint.model)
    assert instructions(small.programs.train_step) == instructions(
        fresh.programs.train_step
    )
    assert small.blueprint.sizes["params"] < stage.blueprint.sizes["params"]
    _, losses = take_steps(small, 2, small_state)
    assert np.isfinite(losses).all()


def test_a_seam_carries_moments_gates_and_average():
    stage = make_stage(("optim.ema_decay", "0.5"))
    state, _ = take_steps(stage, 2)
    closed = stage.blueprint.inventory.open_gates()
    closed["layer_0", "mlp", "mlp"][:5] = 0.0
    small, small_state = cut_state(stage, state, closed, make_plan(closed))
    before, after = named_leaves(state), named_leaves(small_state)
    assert set(before) == set(after)
    name = "params.params.layer_0.mlp.down"
    for place in (name, name.replace("params.params", "ema")):
        np.testing.assert_array_equal(after[place], np.asarray(before[place])[5:])
    moments = [k for k in before if k.endswith("layer_0.mlp.down") and "opt" in k]
    assert len(moments) == 2
    for place in moments:
        np.testing.assert_array_equal(after[place], np.asarray(before[place])[5:])
    shapes = {k: v.shape for k, v in named_leaves(small.abstract_state).items()}
    assert shapes == {k: v.shape for k, v in after.items()}


def test_bfloat16_products_keep_float32_weights_and_sums():
    stage = make_stage(("model.dtype", "bfloat16"))
    state, losses = take_steps(stage)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(state.params)}
    assert dtypes == {"float32"}
    _, exact = take_steps(make_stage())
    assert losses == pytest.approx(exact, rel=0.02)
    assert stage.blueprint.outline.special == {"pad": 0, "bos": 1, "eos": 2}


def batches_and_half(stage):
    """Returns what draws batches by number, and gates that close half of an MLP."""
    rows = np.random.default_rng(0).integers(3, 259, (40, 9))
    closed = stage.blueprint.inventory.open_gates()
    closed["layer_0", "mlp", "mlp"][::2] = 0.0
    return lambda i: stage.put(make_batch(rows, 50 + i, 8, seed=0)), closed


def test_a_refitted_seam_loses_less_and_is_still_exact():
    stage = make_stage(("resize.refit_batches", "3"))
    state, _ = take_steps(stage, 20)
    draw, closed = batches_and_half(stage)
    refitted, flops = refit_state(stage, state, closed, draw)
    assert flops > 3 * 8 * 9 * stage.blueprint.sizes["flops"]
    losses = []
    for before in (state, refitted):
        small, small_state = cut_state(stage, before, closed, make_plan(closed))
        gates = {"gates": unflatten(closed)}
        one = stage.programs.logits({**before.params, **gates}, draw(0))
        other = small.programs.logits(small_state.params, draw(0))
        assert set(one) == {"tokens"}
        np.testing.assert_allclose(one["tokens"], other["tokens"], atol=1e-5)
        measured = small.programs.outputs(small_state.params, draw(0))
        losses.append(float(measured["nats"].sum()))
    assert losses[1] < losses[0]


def test_the_average_is_refitted_as_weights_are():
    stage = make_stage(("resize.refit_batches", "2"), ("optim.ema_decay", "0.9"))
    state, _ = take_steps(stage, 5)
    draw, closed = batches_and_half(stage)
    refitted, flops = refit_state(stage, state, closed, draw)
    alone = {**state.params, "params": state.ema}
    alone = dataclasses.replace(state, params=alone, ema=None)
    expected, flops_of_one = refit_state(stage, alone, closed, draw)
    average, wanted = (flatten(t) for t in (refitted.ema, expected.params["params"]))
    for path, weight in wanted.items():
        np.testing.assert_allclose(average[path], weight, rtol=1e-5, atol=1e-6)
    down = "layer_0", "mlp", "down"
    assert np.abs(average[down] - flatten(state.ema)[down])[1::2].max() > 1e-3
    assert flops == 2 * flops_of_one


def test_the_learning_rate_stays_and_then_falls():
    config = OptimConfig(
        warmup_steps=10, decay="linear", decay_fraction=0.4, final_fraction=0.0
    )
    schedule = make_schedule(config, 100)
    rates = [float(schedule(step)) for step in (0, 10, 59, 80, 100)]
    np.testing.assert_allclose(rates, [0.1, 1.0, 1.0, 0.5, 0.0], atol=1e-6)
    with pytest.raises(ConfigError, match="cosine"):
        OptimConfig(decay="polynomial")


@pytest.mark.usefixtures("no_cache")
def test_a_step_on_the_plateau_does_not_depend_on_how_many_follow():
    def step(num_steps: str):
        changes = ("optim.decay_fraction", "0"), ("train.num_steps", num_steps)
        return instructions(make_stage(*changes).programs.train_step)

    assert step("24") == step("48")


def test_positions_that_are_given_stay_as_they_are():
    changes = (("model.positions", "sinusoidal"), ("optim.weight_decay", "0.5"))
    stage = make_stage(*changes)
    before = stage.start(init_params(stage.blueprint.model, seed=0))
    found = [path for path in flatten(before.params["params"]) if "sinusoids" in path]
    start = jax.device_get(flatten(before.params["params"])[found[0]])
    after, _ = take_steps(stage, 3)
    np.testing.assert_array_equal(flatten(after.params["params"])[found[0]], start)
