"""A branch goes on as the run would have gone on, or elsewhere."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from slimjax import processes
from slimjax.config import override, read_config
from slimjax.errors import CheckpointError, ConfigError, StoppedError
from slimjax.run import branch, start
from slimjax.run.loop import Loop
from slimjax.run.progress import Display
from slimjax.store.manifest import MANIFEST
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config

PLAIN = [("objective.strategy", "none"), ("objective.budget", "")]
PLAIN += [("optim.decay_fraction", "0"), ("train.eval_every_steps", "0")]


@pytest.fixture(scope="module")
def train(text_folder):
    """Returns a function that runs the tiny config, with changes."""

    def train(workdir, *changes) -> dict:
        base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
        base += [("model.num_layers", "1")]
        config = override(read_config("configs/tiny_test.py"), [*base, *changes])
        with Display(quiet=True) as display:
            return start.train(make_run_config(config), workdir, display=display)

    return train


@pytest.fixture(scope="module")
def trunk(train, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("branch") / "trunk"
    return workdir, train(workdir, *PLAIN, ("train.num_steps", "12"))


def test_a_branch_with_the_same_config_is_the_run_gone_on(train, trunk, tmp_path):
    whole = train(tmp_path / "whole", *PLAIN, ("train.num_steps", "18"))
    more = [("train.num_steps", "18"), ("train.continue_from", str(trunk[0]))]
    branch = train(tmp_path / "branch", *PLAIN, *more)
    assert branch["state_hash"] == whole["state_hash"]
    assert branch["train"]["flops_total"] == whole["train"]["flops_total"]
    assert branch["train"]["flops_inherited"] == trunk[1]["train"]["flops_total"]


@pytest.mark.slow
def test_a_branch_may_be_cut_to_a_budget_of_its_own(train, trunk, tmp_path):
    changes = [("objective.size", "bytes"), ("objective.budget", "14e3")]
    changes += [("quantize.bits", "[8, 4]"), ("resize.first_step", "14")]
    changes += [("resize.max_seams", "1"), ("train.num_steps", "16")]
    more = [("train.continue_from", str(trunk[0])), ("train.eval_every_steps", "0")]
    report = train(tmp_path / "cut", *changes, *more)
    assert 13e3 < report["size"]["packed_file_bytes"] <= 14e3
    seams = (tmp_path / "cut" / "seams.jsonl").read_text().splitlines()
    assert [json.loads(seam)["step"] for seam in seams] == [14]
    later = [("quantize.bits", "[8, 4]"), ("train.num_steps", "18")]
    later += [("train.continue_from", str(tmp_path / "cut"))]
    again = train(tmp_path / "decayed", *PLAIN, *later)
    assert again["size"]["packed_file_bytes"] == report["size"]["packed_file_bytes"]


def test_what_cannot_be_gone_on_from_is_refused(train, trunk, tmp_path):
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        train(tmp_path / "a", *PLAIN, ("train.continue_from", str(tmp_path / "no")))
    changes = [("train.num_steps", "12"), ("train.continue_from", str(trunk[0]))]
    with pytest.raises(ConfigError, match="must be more than the 12 steps"):
        train(tmp_path / "b", *PLAIN, *changes)


@contextlib.contextmanager
def fail_elsewhere(name: str):
    """Stands for `processes.together` where another process cannot read the newest."""
    yield
    if "00000012" in name:
        raise CheckpointError(f"process 1: {name} is damaged.")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_all_processes_begin_with_the_same_checkpoint(tmp_path, monkeypatch, elsewhere):
    """Process 0 sees one more of them, or another process cannot read the newest."""
    folder, names = RunFolder(tmp_path), ["00000008.00", "00000012.00"]
    for name in names[: 2 if elsewhere else 1]:
        folder.checkpoints.path(name).mkdir(parents=True)
        (folder.checkpoints.path(name) / MANIFEST).write_text("{}")
    manifest = lambda *_: {"history": {"num_seams": 0}}
    monkeypatch.setattr(type(folder.checkpoints), "read_manifest", manifest)
    for step in ("make_model", "find_latency", "blueprint_of", "find_teacher"):
        monkeypatch.setattr(branch, step, lambda *_: None)
    stage = SimpleNamespace(abstract_checkpoint=None)
    monkeypatch.setattr(branch, "make_stage", lambda *_, **__: stage)
    monkeypatch.setattr(branch, "restore_state", lambda _, name, __: name)
    monkeypatch.setattr(processes, "share", lambda *_: names, raising=False)
    if elsewhere:
        monkeypatch.setattr(processes, "together", fail_elsewhere, raising=False)
    data = SimpleNamespace(outline=None)
    *_, state = branch._newest(folder, None, data)
    assert state == names[0 if elsewhere else 1]


def test_a_branch_is_saved_at_its_start(train, trunk, tmp_path, monkeypatch):
    def stop(_) -> None:
        raise StoppedError("stopped", exit_code=143)

    monkeypatch.setattr(Loop, "_ask_teacher", stop)
    more = [("train.num_steps", "18"), ("train.continue_from", str(trunk[0]))]
    with pytest.raises(StoppedError):
        train(tmp_path / "branch", *PLAIN, *more)
    assert RunFolder(tmp_path / "branch").checkpoints.list() == ["00000012.00"]
