"""What cannot be read for a while is not damaged, and nothing is lost by it."""

import errno
import os
from pathlib import Path

import jax
import orbax.checkpoint as ocp
import pytest
from test_checkpoint import make_state, save, target

from slimjax.errors import CheckpointError, UnreadableError
from slimjax.store.checkpoint import Checkpoints
from slimjax.store.files import read_json
from slimjax.store.keep import Keep
from slimjax.store.manifest import MANIFEST


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", Keep(latest=2))


def fail(monkeypatch, function: str, name: str, number: int) -> None:
    """Has a function of paths fail for files of one name, as shared disks do."""
    real = getattr(Path, function)

    def refuse(path, *args, **options):
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, function, refuse)


@pytest.mark.parametrize("function", ["read_text", "stat"])
@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_save_removes_nothing_while_manifests_cannot_be_read(
    checkpoints, monkeypatch, function, number
):
    for step in (1, 2):
        save(checkpoints, make_state(), step=step)
    with monkeypatch.context() as patch:
        fail(patch, function, MANIFEST, number)
        save(checkpoints, make_state(), step=3)
    assert [name[:8] for name in checkpoints.list()] == [f"{n:08d}" for n in (1, 2, 3)]
    save(checkpoints, make_state(), step=4)
    assert checkpoints.list() == ["00000003.00", "00000004.00"]


def test_the_checkpoint_just_written_stays_whatever_is_read_of_it(
    checkpoints, monkeypatch
):
    def damaged(folder):
        raise CheckpointError(f"{folder} is damaged")

    with monkeypatch.context() as patch:
        patch.setattr("slimjax.store.checkpoint.read_manifest", damaged)
        save(checkpoints, make_state(), step=1)
    assert checkpoints.list() == ["00000001.00"]


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory: 8589934592"),
        MemoryError(),
        OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
        ValueError("UNKNOWN: Error reading [os_error_code='5'] a file"),
    ],
)
def test_arrays_that_do_not_fit_or_cannot_be_read_are_not_damaged(
    checkpoints, monkeypatch, error
):
    name = save(checkpoints, make_state(), step=1)

    def refuse(*_):
        raise error

    monkeypatch.setattr(ocp.StandardCheckpointer, "restore", refuse)
    says = "out of memory|Stale file handle|Input/output error"
    with pytest.raises(UnreadableError, match=says) as caught:
        checkpoints.restore(name, target())
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("function", ["open", "stat"])
def test_files_that_cannot_be_read_are_not_damaged(checkpoints, monkeypatch, function):
    name = save(checkpoints, make_state(), step=1)
    some = {"open": "_METADATA", "stat": MANIFEST}[function]
    fail(monkeypatch, function, some, errno.EIO)
    with pytest.raises(UnreadableError, match="Input/output error"):
        checkpoints.restore(name, target())


def test_a_folder_that_cannot_be_listed_is_not_empty(checkpoints, monkeypatch):
    name = save(checkpoints, make_state(), step=1)
    real = os.scandir

    def refuse(path):
        if Path(path).name == "state":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UnreadableError, match="Input/output error"):
        checkpoints.restore(name, target())


def test_a_file_that_is_gone_or_wrong_was_read(tmp_path):
    (tmp_path / "wrong.json").write_text("{")
    for name in ("wrong.json", "gone.json", "wrong.json/below"):
        with pytest.raises(CheckpointError) as caught:
            read_json(tmp_path / name)
        assert not isinstance(caught.value, UnreadableError)
