"""A run whose devices share the positions of each row is the run of one device."""

import jax
import numpy as np
import pytest
from stages import make_stage

from slimjax.data.batches import make_batch
from slimjax.train.state import init_params

SEQ_LEN = 24
BATCH = 8


def run_steps(changes=(), num_steps=3, **sizes):
    """Returns the stage, its losses, the last weights, and what is kept of rows."""
    changes = [("data.seq_len", str(SEQ_LEN)), *changes]
    changes += [("objective.strategy", "none"), ("objective.budget", '""')]
    changes += [(f"mesh.{axis}", str(size)) for axis, size in sizes.items()]
    stage = make_stage(*changes)
    rows = np.random.default_rng(0).integers(3, 259, (40, SEQ_LEN))
    rows[::3, 11:] = 0  # Padding, from the middle of a stretch.
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    losses = []
    for step in range(num_steps):
        batch = stage.put(make_batch(rows, step, BATCH, seed=0))
        state, metrics = stage.programs.train_step(state, batch)
        losses.append(float(metrics["nats_sum"]) / float(metrics["num_targets"]))
    sums = jax.device_get(stage.programs.outputs(state.variables, batch))
    return stage, losses, jax.device_get(state.params), sums


@pytest.fixture(scope="module")
def alone():
    return run_steps(data=1)


@pytest.mark.parametrize(
    "sizes",
    [dict(data=2, context=4), dict(data=1, fsdp=2, model=2, context=2)],
)
def test_stretches_of_rows_train_as_whole_rows_do(alone, sizes):
    _, losses, params, sums = run_steps(**sizes)
    np.testing.assert_allclose(losses, alone[1], rtol=1e-5)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, params, alone[2])
    np.testing.assert_array_equal(sums["targets"], alone[3]["targets"])
    assert sums["targets"].sum() < BATCH * SEQ_LEN
    np.testing.assert_allclose(sums["nats"], alone[3]["nats"], rtol=1e-5)


def test_no_device_holds_activations_of_a_whole_row():
    """Of 4 rows on a device, 6 positions each, only keys and values are gathered."""
    stage, *_ = run_steps(num_steps=1, data=2, context=4)
    text, layer = stage.programs.train_step.as_text(), stage.blueprint.model.layers[0]
    assert f"f32[4,6,{stage.blueprint.model.width}]" in text
    assert f"f32[4,24,{layer.num_kv_heads},{layer.head_dim}]" in text
    for wide in (
        stage.blueprint.model.width,
        layer.mlp_dim,
        stage.blueprint.model.vocab_size,
    ):
        assert f"[4,24,{wide}]" not in text
        assert f"[8,24,{wide}]" not in text
