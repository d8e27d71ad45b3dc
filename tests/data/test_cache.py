"""Entries of the cache, and drafts of them that other processes write."""

import os
import time

import pytest

from slimjax.data import cache

DAY = 24 * 3600


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path))
    return tmp_path


def make_draft(root, name: str, age: float):
    """Makes a draft that was begun two days ago and last written to `age` s ago."""
    draft = root / f".draft-{name}"
    (draft / "below").mkdir(parents=True)
    (draft / "below" / "train.npy").write_bytes(b"half")
    now = time.time()
    os.utime(draft / "below" / "train.npy", (now - age, now - age))
    for folder in (draft / "below", draft):
        os.utime(folder, (now - 2 * DAY, now - 2 * DAY))
    return draft


def test_a_draft_stays_as_long_as_its_files_grow(root):
    growing, left = make_draft(root, "a", 60), make_draft(root, "b", 2 * DAY)

    def build(draft):
        (draft / "x").write_text("x")
        return {"a": 1}

    assert cache.open_entry("entry", build, lambda _, info: info) == {"a": 1}
    assert growing.is_dir()
    assert not left.exists()
