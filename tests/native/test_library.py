"""A compiler that fails is not asked again by every process that comes."""

import os
import subprocess
from pathlib import Path

import pytest

from slimjax.native import library


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Returns a function that makes a compiler and tells how often it was asked."""
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "find_compiler", lambda: str(tmp_path / "c++"))
    asked = tmp_path / "asked"

    def make(what_it_does: str):
        script = f'#!/bin/sh\n[ "$1" = --version ] && exit 0\necho >> {asked}\n'
        (tmp_path / "c++").write_text(script + what_it_does)
        (tmp_path / "c++").chmod(0o755)
        return lambda: len(asked.read_text().splitlines()) if asked.exists() else 0

    return make


def failures(root: Path) -> list[Path]:
    return list(root.glob("cache/compiled/*.failed"))


def test_a_compiler_that_hangs_is_asked_once_a_day(tmp_path, calls, monkeypatch):
    num_calls = calls("exec sleep 60")
    monkeypatch.setattr(library, "SECONDS_TO_COMPILE", 0.5)
    with pytest.raises(subprocess.SubprocessError, match=r"took more than 0\.5 s"):
        library.compile_library()
    first = num_calls()
    with pytest.raises(subprocess.SubprocessError, match="is removed") as caught:
        library.compile_library()
    assert str(failures(tmp_path)[0]) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert num_calls() == first > 0
    yesterday = failures(tmp_path)[0].stat().st_mtime - library.SECONDS_REMEMBERED
    os.utime(failures(tmp_path)[0], (yesterday, yesterday))
    with pytest.raises(subprocess.SubprocessError, match=r"took more than 0\.5 s"):
        library.compile_library()
    assert num_calls() > first


def test_a_compiler_that_fails_says_why_each_time(calls):
    num_calls = calls("echo first >&2; echo second >&2; exit 1")
    with pytest.raises(subprocess.SubprocessError, match="second"):
        library.compile_library()
    first = num_calls()
    with pytest.raises(subprocess.SubprocessError, match=r"^second \(not tried again"):
        library.compile_library()
    assert num_calls() == first


def test_a_compiler_that_works_again_leaves_no_failure(tmp_path, calls):
    calls("exit 1")
    with pytest.raises(subprocess.SubprocessError):
        library.compile_library()
    failures(tmp_path)[0].unlink()
    calls('while [ "$1" != -o ]; do shift; done\n: > "$2"')
    path = library.compile_library()
    assert path.is_file()
    assert library.compile_library() == path
    assert not failures(tmp_path)
