"""A teacher who is asked once for each row: the same run, whoever asked."""

import dataclasses
import json
import signal

import numpy as np
import pytest
from taught import DENSE, Killed, make_train

from slimjax.config import override, read_config
from slimjax.data.batches import row_indices
from slimjax.distill.outcome_store import record_type
from slimjax.errors import ConfigError, StoppedError
from slimjax.run import loop, reading, taught_rows
from slimjax.run.dry_run import describe
from slimjax.run.taught_rows import planned_rows
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.train.history import History
from slimjax.tune.equal import read_cost

TOP_K = 4


@pytest.fixture(scope="module")
def train(text_folder):
    return make_train(text_folder, num_steps=12)


@pytest.fixture(scope="module")
def dense(train, tmp_path_factory):
    """Returns the folder of a finished run that was never cut."""
    workdir = tmp_path_factory.mktemp("runs") / "dense"
    train(workdir, *DENSE)
    return workdir


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns an empty cache."""
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def worked(workdir) -> int:
    """Returns for how many rows a run has asked its teacher itself."""
    return sum(entry["rows"] for entry in RunFolder(workdir).teacher_work.read())


@pytest.mark.usefixtures("cache")
def test_a_run_goes_on_to_the_same_bits_and_the_next_one_asks_no_more(
    train, tmp_path, dense, monkeypatch
):
    monkeypatch.setattr(taught_rows, "PIECE_BYTES", 1)  # A piece for each batch.
    taught = dict(teacher=dense, top_k=TOP_K, first_step=2)
    passages = iter(range(1000))
    write = taught_rows._write

    def kill_at_third_piece(*inputs):
        if next(passages) == 2:
            raise Killed
        write(*inputs)

    with monkeypatch.context() as patch:
        patch.setattr(taught_rows, "_write", kill_at_third_piece)
        with pytest.raises(Killed):
            train(tmp_path / "killed", **taught)
    assert worked(tmp_path / "killed") == 2 * 8
    passages = iter(range(1000))

    def kill_at_step_11(name):  # One after the cut.
        if name == "step" and next(passages) == 11:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill_at_step_11)
        with pytest.raises(Killed):
            train(tmp_path / "killed", **taught)
    killed = train(tmp_path / "killed", **taught)
    assert killed["train"]["restarts"] == 2
    whole = train(tmp_path / "whole", **taught)
    assert whole["state_hash"] == killed["state_hash"]

    config = make_run_config(json.loads((tmp_path / "whole/config.json").read_text()))
    num_rows = whole["data"]["tokens_train"] // 32
    rows = len(planned_rows(config, num_rows, History(), 0))
    assert rows == 10 * 8
    assert (worked(tmp_path / "killed"), worked(tmp_path / "whole")) == (rows, 0)
    flops = rows * 32 * whole["stages"][0]["flops_per_token"]
    for report, here in ((killed, flops), (whole, 0.0)):
        assert report["train"]["teacher_flops"] == flops
        assert report["train"]["teacher_flops_here"] == here
        assert report["train"]["flops_total"] == killed["train"]["flops_total"]
    told = describe(config)
    assert told["teacher_flops"] == flops
    assert told["teacher_cache_bytes"] == rows * record_type(32, TOP_K, 259).itemsize
    cost = read_cost(tmp_path / "whole")
    predicted = cost.predict(config.seam_steps, 12, rows)
    assert predicted == pytest.approx(killed["train"]["flops_total"])
    assert cost.flops_of_row == pytest.approx(flops / rows)
    assert cost.flops_else == pytest.approx(0.0, abs=1e-3)


@pytest.mark.usefixtures("cache")
def test_all_tokens_teach_what_the_teacher_himself_does(train, tmp_path, dense):
    taught = dict(teacher=dense, weight=1.0, temperature=2.0)
    short = [*DENSE, ("train.num_steps", "4")]
    himself = train(tmp_path / "himself", *short, **taught)
    kept = train(tmp_path / "kept", *short, **taught, top_k=259)
    errors = [report["error"]["valid_nats_per_token"] for report in (himself, kept)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-4)  # float16 on the disk.


@pytest.mark.usefixtures("cache")
def test_rows_taken_for_those_of_a_bad_step_are_asked_for_too(
    train, tmp_path, dense, monkeypatch
):
    handle = reading.handle_bad_step

    def leap_once_at_step_5(metrics, step, train, history, display):
        if step == 5 and not history.detours:
            metrics = metrics | {"nats_sum": np.nan}
        return handle(metrics, step, train, history, display)

    monkeypatch.setattr(reading, "handle_bad_step", leap_once_at_step_5)
    taught = dict(teacher=dense, top_k=TOP_K)
    report = train(
        tmp_path / "run", *DENSE, ("train.on_bad_step", "rollback"), **taught
    )
    assert report["train"]["rollbacks"] == 1
    config = make_run_config(json.loads((tmp_path / "run/config.json").read_text()))
    num_rows = report["data"]["tokens_train"] // 32
    rows = planned_rows(config, num_rows, History(detours={"4": 1}), 0)
    assert worked(tmp_path / "run") == len(rows) > 12 * 8
    price = 32 * report["stages"][0]["flops_per_token"]
    assert report["train"]["teacher_flops"] == len(rows) * price


@pytest.mark.usefixtures("cache")
def test_a_signal_keeps_what_the_teacher_has_said(train, tmp_path, dense, monkeypatch):
    taught = dict(teacher=dense, top_k=TOP_K)
    with monkeypatch.context() as patch:
        patch.setattr(taught_rows.StopRequests, "received", signal.SIGTERM)
        with pytest.raises(StoppedError, match="the teacher's outputs so far are kept"):
            train(tmp_path / "run", *DENSE, **taught)
    assert worked(tmp_path / "run") == 8


@pytest.mark.slow
def test_eight_devices_are_taught_as_one_is(train, tmp_path, cache, dense):
    errors = []
    for devices in ("1", "8"):
        mesh = [("mesh.data", devices), ("train.num_steps", "4")]
        report = train(tmp_path / devices, *DENSE, *mesh, teacher=dense, top_k=TOP_K)
        errors.append(report["error"]["valid_nats_per_token"])
        cache.rename(tmp_path / f"cache{devices}")
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-5)


@pytest.mark.usefixtures("cache")
def test_what_cannot_be_kept_is_refused_at_the_door(train, tmp_path, dense):
    for changes, message in (
        (dict(cache_limit_mb=0.01), r"top_k=4 keeps 0\.1 MB for 96 rows, more than"),
        (dict(top_k=260), "more than the 259 tokens"),
        (dict(hidden_weight=0.5), "keeps no hidden states"),
        (dict(teacher="start"), "there from the beginning"),
        (dict(top_k=-1), "must be 0 or more"),
    ):
        taught = dict(teacher=dense, top_k=TOP_K) | changes
        with pytest.raises(ConfigError, match=message) as caught:
            train(tmp_path / "run", **taught)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("num_rows", [5, 30, 1000])
def test_planned_rows_are_those_that_the_steps_take(num_rows):
    config = override(read_config("configs/tiny_test.py"), [])
    run = make_run_config(config | {"distill": {"first_step": 3}})
    detours = {"7": 2}
    taken = [row_indices(step, 8, num_rows, 0) for step in range(3, 24)]
    taken += [row_indices(7 + 2 * 2**32, 8, num_rows, 0)]
    rows = planned_rows(run, num_rows, History(detours=detours), 0)
    np.testing.assert_array_equal(rows, np.unique(np.concatenate(taken)))
    last = dataclasses.replace(run.train, num_steps=4)
    one = planned_rows(dataclasses.replace(run, train=last), num_rows, History(), 0)
    np.testing.assert_array_equal(one, np.unique(taken[0]))
