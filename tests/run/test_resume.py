"""Taking a run up again, or beginning it anew."""

from types import SimpleNamespace

import orbax.checkpoint as ocp
import pytest

from slimjax import processes
from slimjax.cli.main import main
from slimjax.errors import CheckpointError, UnreadableError
from slimjax.run import resume
from slimjax.store.manifest import MANIFEST
from slimjax.store.run_folder import RunFolder


@pytest.mark.parametrize("is_first", [True, False])
def test_all_processes_wait_for_each_other_before_a_fresh_start(
    tmp_path, monkeypatch, is_first
):
    folder = RunFolder(tmp_path)
    damaged = folder.checkpoints.path("00000005.00")
    damaged.mkdir(parents=True)
    (damaged / MANIFEST).write_text("{}")
    waits = []
    monkeypatch.setattr(processes, "barrier", waits.append, raising=False)
    monkeypatch.setattr(processes, "is_first", lambda: is_first, raising=False)
    monkeypatch.setattr(resume, "_begin", lambda *_: "the beginning")
    display = SimpleNamespace(say=lambda _: None)
    given = None, folder, None, display
    assert resume.begin_or_resume(*given, allow_fresh_start=True) == "the beginning"
    assert "a fresh start" in waits
    assert damaged.exists() is not is_first


def marked(folder: RunFolder, *names: str) -> None:
    """Makes folders that look like checkpoints."""
    for name in names:
        folder.checkpoints.path(name).mkdir(parents=True)
        (folder.checkpoints.path(name) / MANIFEST).write_text("{}")


def test_want_of_memory_ends_the_run_and_takes_no_older_checkpoint(
    tmp_path, text_folder, monkeypatch, capsys
):
    folder = RunFolder(tmp_path / "run")
    argv = ["train", "--config=configs/tiny_test.py", f"--workdir={folder.root}"]
    changes = {"data.source": f"text:{text_folder}/*.txt", "model.num_layers": 1}
    changes |= {"objective.strategy": "none", "objective.budget": "", "mesh.data": 1}
    changes |= {"train.num_steps": 4, "train.save_every_steps": 2}
    argv += [f"--config.{name}={value}" for name, value in changes.items()]
    assert main(argv) == 0
    folder.report.unlink()
    names = folder.checkpoints.list()

    def refuse(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ocp.StandardCheckpointer, "restore", refuse)
        capsys.readouterr()
        assert main(argv) == 2
    told = capsys.readouterr().err
    assert "out of memory" in told
    assert "damaged" not in told
    assert "allow_fresh_start" not in told
    assert len(names) == 2
    assert folder.checkpoints.list() == names
    assert main(argv) == 0


@pytest.mark.parametrize("own", [UnreadableError, CheckpointError])
def test_all_processes_end_where_one_cannot_read(tmp_path, monkeypatch, own):
    folder = RunFolder(tmp_path)
    marked(folder, "00000004.00", "00000005.00")

    def fail(*_):
        raise own("no")

    def exchange(name, value):
        return [value, True] if name.startswith("whether") else [value, value]

    monkeypatch.setattr(resume, "_read", fail)
    monkeypatch.setattr(processes, "exchange", exchange, raising=False)
    display = SimpleNamespace(say=lambda _: None)
    with pytest.raises(own, match="no"):
        resume.begin_or_resume(None, folder, None, display)
    assert len(folder.checkpoints.list()) == 2
