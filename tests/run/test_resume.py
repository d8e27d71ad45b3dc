"""Taking a run up again, or beginning it anew."""

from types import SimpleNamespace

import pytest

from slimjax import processes
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
