"""A disk that fails for a while costs no checkpoint and ends no run."""

import gc
import os
import resource
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from runs import Says, make_run
from stages import stage_of

from slimjax.errors import CheckpointError, StoppedError
from slimjax.run import loop, saving, start
from slimjax.store.keep import Keep
from slimjax.store.run_folder import RunFolder
from slimjax.train.history import History
from slimjax.train.state import init_params

WHOLE = ["00000015.00", "00000016.00"]


@pytest.fixture
def fail_writes(monkeypatch):
    """Returns a way to have all larger writes fail between two steps' beginnings."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def between(first: int, last: int) -> None:
        steps = iter(range(1, 1000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        def limit(name: str) -> None:
            step = next(steps) if name == "step" else 0
            if step == first:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
            if step == last:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        monkeypatch.setattr(loop, "fault_point", limit)

    yield between
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_save_that_fails_is_told_and_the_next_one_works(
    tmp_path, text_folder, fail_writes
):
    says, run = Says(), make_run(text_folder)
    expected = start.train(run, tmp_path / "plain", display=Says())
    fail_writes(9, 13)  # Of the saves at 5, 10, 15 and 16 the second fails.
    report = start.train(run, tmp_path / "run", display=says)
    told = [line for line in says.lines if "cannot be written" in line]
    assert any("00000010.00" in line for line in told)
    assert all("\n" not in line for line in told)
    assert report["state_hash"] == expected["state_hash"]
    folder = RunFolder(tmp_path / "run")
    assert folder.checkpoints.list()[-2:] == WHOLE
    assert [entry["step"] for entry in folder.metrics.read()][-1] == 16
    assert {entry["step"] for entry in folder.metrics.read()} >= {4, 5, 8, 10, 12, 15}


def test_a_run_whose_last_save_fails_does_not_end_as_finished(
    tmp_path, text_folder, fail_writes
):
    run = make_run(text_folder)
    fail_writes(16, 999)
    with pytest.raises(CheckpointError, match="The last save failed"):
        start.train(run, tmp_path / "run", display=Says())
    fail_writes(999, 999)
    folder = RunFolder(tmp_path / "run")
    assert not folder.report.exists()
    newest = int(folder.checkpoints.list()[-1][:8])
    assert newest in (10, 15)  # The one of step 15 may be in writing when it begins.
    says = Says()
    start.train(run, tmp_path / "run", display=says)
    assert f"going on at step {newest} of 16" in says.lines
    assert folder.report.exists()


def test_a_signal_while_the_disk_is_full_says_that_nothing_is_saved(
    tmp_path, text_folder, fail_writes, monkeypatch
):
    fail_writes(8, 999)
    limit, steps = loop.fault_point, iter(range(1, 1000))

    def limit_and_signal(name: str) -> None:
        limit(name)
        if name == "step" and next(steps) == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "fault_point", limit_and_signal)
    with pytest.raises(StoppedError, match="SIGTERM: not saved") as caught:
        start.train(make_run(text_folder), tmp_path / "run", display=Says())
    assert caught.value.exit_code == 143
    names = RunFolder(tmp_path / "run").checkpoints.list()
    assert set(names) <= {"00000005.00"}  # It may be in writing at step 8.


def test_a_save_that_finds_no_memory_is_told_and_the_next_one_works(
    tmp_path, monkeypatch
):
    says, folder = Says(), RunFolder(tmp_path)
    state, history = SimpleNamespace(step=7), History()
    failures = [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 2 GiB\nmore"), None]
    train = SimpleNamespace(train=SimpleNamespace(keep=Keep()))

    def unstack(_):
        failure = failures.pop(0)
        if failure is not None:
            raise failure
        return {"step": np.int32(7)}

    layout = SimpleNamespace(runs=("a run",), unstacked_to_save=unstack)
    stage = SimpleNamespace(layout=layout, blueprint=SimpleNamespace(run=train))
    monkeypatch.setattr(saving, "make_manifest", lambda *_: {"history": {}})
    saver = saving.Saver(folder, "digest", says, 0.0)
    saver.save(stage, state, history)
    saver.notice()
    (told,) = says.lines
    assert told.startswith("The state of step 7 cannot be saved: ")
    assert "RESOURCE_EXHAUSTED: 2 GiB. Take more" in told
    assert told.endswith("There is no older checkpoint.")
    saver.save(stage, state, history)
    saver.finish_last()
    assert folder.checkpoints.list() == ["00000007.00"]
    failures += [MemoryError("no room")]
    state.step = 8
    saver.save(stage, state, history)
    with pytest.raises(CheckpointError, match=r"The last save failed: .*no room"):
        saver.finish_last()
    failures += [ValueError("another fault")]
    with pytest.raises(ValueError, match="another fault"):
        saver.save(stage, state, history)


@pytest.mark.slow
def test_saving_and_restoring_leaks_nothing(tmp_path, text_folder):
    run = make_run(text_folder)
    stage = stage_of(run)
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    checkpoints, counts, lists = RunFolder(tmp_path).checkpoints, [], []
    for step in range(12):
        name = checkpoints.save(state, {"history": {}}, step, 0)
        checkpoints.wait()
        state = checkpoints.restore(name, stage.abstract_checkpoint)
        gc.collect()
        counts.append(len(os.listdir("/proc/self/fd")))
        lists.append(sum(type(thing) is list for thing in gc.get_objects()))
    assert counts[-1] <= counts[2]
    assert lists[-1] < lists[2] + 100  # Of counters nine cycles would leave 432.
