"""Which programs a stage keeps when its bits or its teacher change, and which not."""

import jax
import numpy as np
import pytest
from stages import make_stage, stage_of

from slimjax.distill.teacher import Teacher
from slimjax.trees import flatten

BYTES = [("objective.size", "bytes"), ("quantize.bits", "[8]")]
BYTES += [("optim.warmup_steps", "0")]
PRICED = [*BYTES, ("objective.strategy", "size_penalty"), ("objective.budget", "")]
PRICED += [("objective.alpha", "0.5")]
MLP = "layer_0", "mlp", "mlp"


def halved(stage) -> dict:
    """Returns the bits of a stage, those of the hidden units being half as many."""
    bits = {key: own.copy() for key, own in stage.blueprint.bits.items()}
    bits[MLP] //= 2
    return bits


def pushes(stage) -> dict:
    """Returns by how much the price alone moves each gate in a first step."""
    state = stage.fresh()
    grads = jax.tree.map(np.zeros_like, jax.device_get(state.params))
    updates, _ = stage.tx.update(grads, state.opt_state, state.params)
    return {k: np.asarray(v) for k, v in flatten(updates["gates"]).items()}


def test_a_price_inside_of_the_step_is_that_of_the_new_bits():
    stage = make_stage(*PRICED)
    other = stage.with_bits(halved(stage))
    assert other.programs is not stage.programs
    assert other.programs.blueprint is other.blueprint
    assert other.blueprint.bits[MLP].tolist() == [4] * 48
    before, after = pushes(stage), pushes(other)
    assert np.all(before[MLP] < 0)
    assert 0.4 < after[MLP].mean() / before[MLP].mean() < 0.6  # Some bytes are fixed.
    run, start = stage.blueprint.run, stage.blueprint.start_sizes
    fresh = stage_of(run, given_bits=halved(stage), given_start_sizes=start)
    for path, push in pushes(fresh).items():
        np.testing.assert_array_equal(after[path], push)


def test_programs_stay_where_the_step_has_no_price():
    stage = make_stage(*BYTES, ("objective.strategy", "exchange"))
    other = stage.with_bits(halved(stage))
    assert other.programs is stage.programs
    assert other.tx is stage.tx
    assert other.blueprint.sizes["bytes"] < stage.blueprint.sizes["bytes"]
    assert other.blueprint.start_sizes == stage.blueprint.sizes
    assert stage.blueprint.bits[MLP].tolist() == [8] * 48  # It is as it was.


@pytest.mark.parametrize("width", [32, 16])
def test_a_teacher_of_another_width_has_maps_of_another_shape(width):
    aligned = [("distill.teacher", "start"), ("distill.hidden_weight", "0.1")]
    stage = make_stage(*aligned)
    model = make_stage(("model.width", str(width))).blueprint.model
    shapes = model.abstract_variables()
    teacher = Teacher(model, jax.tree.map(lambda s: np.zeros(s.shape), shapes), "name")
    taught = stage.taught_by(teacher)
    assert stage.teacher is None
    assert taught.is_taught(0)
    assert (taught.programs is stage.programs) == (width == 32)
    maps = taught.programs.abstract_state.params["align"]
    assert maps["map_0"]["map"].shape == (32, width)
