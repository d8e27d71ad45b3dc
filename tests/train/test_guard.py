"""A bad step is met as the config asks: stop, skip or roll back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.data.batches import make_batch
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.run import loop, start
from slimjax.run.progress import Display
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.lm import load
from slimjax.train import programs
from slimjax.train.config import make_run_config
from slimjax.train.guard import FIRST_STEPS, Guard, fault_of
from slimjax.train.state import TrainState

NUM_STEPS, BAD_STEP = 16, 12


class Says(Display):
    """A display that keeps what it is told."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def make_run(text_folder, **changes):
    changes = {"on_bad_step": "stop", "num_steps": NUM_STEPS} | changes
    every = [(f"train.{name}", str(value)) for name, value in changes.items()]
    every += [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    every += [("objective.strategy", "none"), ("objective.budget", "")]
    every += [("model.num_layers", "1"), ("train.save_every_steps", "5")]
    every += [("train.eval_every_steps", "5")]
    return make_run_config(override(read_config("configs/tiny_test.py"), every))


def poison(monkeypatch, corpus_rows, run, steps, factor):
    """Multiplies the error of the batches of some steps, whoever takes them."""
    batches = [make_batch(corpus_rows, s - 1, 8, run.seed)["tokens"] for s in steps]
    sums = jnp.array([batch.sum() for batch in batches])
    make = programs.make_error_fn

    def make_poisoned(*args, **kwargs):
        error_fn = make(*args, **kwargs)

        def poisoned(params, batch, key):
            error, metrics = error_fn(params, batch, key)
            is_bad = (batch["tokens"].sum() == sums).any()
            scale = jnp.where(is_bad, factor, 1.0)
            nats = metrics["nats_sum"] * scale
            return error * scale, metrics | {"nats_sum": nats}

        return poisoned

    monkeypatch.setattr(programs, "make_error_fn", make_poisoned)


@pytest.fixture(scope="module")
def corpus_rows(text_folder):
    return load(make_run(text_folder).data).splits["train"]["tokens"]


def metrics_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_stop_is_one_line_and_leaves_whole_checkpoints(
    tmp_path, text_folder, corpus_rows, monkeypatch
):
    run = make_run(text_folder)
    poison(monkeypatch, corpus_rows, run, [BAD_STEP], jnp.nan)
    with pytest.raises(NotFeasibleError, match=f"At step {BAD_STEP}, the loss is not"):
        start.train(run, tmp_path / "run", display=Says())
    names = RunFolder(tmp_path / "run").checkpoints.list()
    assert names == ["00000005.00", "00000010.00"]


@pytest.mark.parametrize("factor", [jnp.inf, 50.0])
def test_skip_leaves_the_update_out_and_nothing_else(
    tmp_path, text_folder, corpus_rows, monkeypatch, factor
):
    run = make_run(text_folder, on_bad_step="skip", spike_factor=3.0)
    poison(monkeypatch, corpus_rows, run, [BAD_STEP], factor)
    says, folder = Says(), tmp_path / "run"
    report = start.train(run, folder, display=says)
    assert report["train"]["bad_steps"] == 1
    told = [line for line in says.lines if line.startswith(f"At step {BAD_STEP},")]
    assert len(told) == 1
    entries = metrics_of(folder)
    assert [entry["bad_steps"] for entry in entries] == [0, 0, 0, 0, 1, 1, 1]
    assert all(entry["loss"] < 10 for entry in entries)
    assert entries[-1]["step"] == NUM_STEPS


@pytest.mark.parametrize("factor", [jnp.nan, 50.0])
def test_rollback_takes_other_rows_from_the_newest_checkpoint_on(
    tmp_path, text_folder, corpus_rows, monkeypatch, factor
):
    run = make_run(text_folder, on_bad_step="rollback", spike_factor=3.0)
    poison(monkeypatch, corpus_rows, run, [BAD_STEP], factor)
    says, folder = Says(), tmp_path / "run"
    report = start.train(run, folder, display=says)
    assert report["train"]["bad_steps"] == report["train"]["rollbacks"] == 1
    assert report["train"]["restarts"] == 0
    assert report["train"]["repeated_steps"] in (0, 2)  # As far as they were logged.
    steps = [entry["step"] for entry in metrics_of(folder)]
    assert steps == sorted(set(steps))
    if factor == 50.0:
        again = start.train(run, tmp_path / "again", display=Says())
        assert again["state_hash"] == report["state_hash"]


def test_bad_rows_everywhere_end_the_run(
    tmp_path, text_folder, corpus_rows, monkeypatch
):
    for policy in ("skip", "rollback"):
        run = make_run(text_folder, on_bad_step=policy, max_bad_steps=2)
        monkeypatch.setattr(loop, "rows_step", lambda *_: BAD_STEP - 1)
        poison(monkeypatch, corpus_rows, run, [BAD_STEP], jnp.nan)
        with pytest.raises(NotFeasibleError, match="3 times in a row"):
            start.train(run, tmp_path / policy, display=Says())


def make_states():
    health = Guard(True, 3.0).start().replace(loss_mean=jnp.float32(2.0))
    health = health.replace(num_steps=jnp.int32(FIRST_STEPS))
    make = lambda step, w: TrainState(step, {"params": w}, {}, None, None, health)
    return make(jnp.int32(4), jnp.ones(3)), make(jnp.int32(5), jnp.zeros(3))


@pytest.mark.parametrize(
    ("loss", "grad_norm", "gate_norm", "is_good"),
    [
        (2.5, 1.0, 1.0, True),
        (6.5, 1.0, 1.0, False),
        (jnp.nan, 1.0, 1.0, False),
        (-jnp.inf, 1.0, 1.0, False),
        (2.5, jnp.inf, 1.0, False),
        (2.5, 1.0, jnp.nan, False),
    ],
)
def test_the_verdict_on_a_step(loss, grad_norm, gate_norm, is_good):
    before, after = make_states()
    metrics = dict(nats_sum=loss * 4, num_targets=4.0, grad_norm=grad_norm)
    metrics = jax.tree.map(jnp.float32, metrics)
    state, found = Guard(True, 3.0).check(
        before, after, metrics, jnp.float32(gate_norm)
    )
    assert int(state.step) == 5
    np.testing.assert_array_equal(state.params["params"], 0.0 if is_good else 1.0)
    assert int(state.health.num_steps) == FIRST_STEPS + is_good
    host = {name: float(value) for name, value in found.items()}
    assert (fault_of(host) == "") == is_good


def test_a_step_that_stops_at_bad_numbers_is_the_plain_step(text_folder):
    assert make_run(text_folder).train.guard.start() is None


@pytest.mark.parametrize(
    "change", [{"on_bad_step": "hope"}, {"spike_factor": 0.5}, {"keep_latest": 0}]
)
def test_settings_that_cannot_be_meant_are_refused(text_folder, change):
    with pytest.raises(ConfigError, match=f"config.train.{next(iter(change))}="):
        make_run(text_folder, **change)
