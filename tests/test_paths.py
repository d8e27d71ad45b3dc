"""What a user's path means, whatever its bytes are."""

import os
from pathlib import Path

import pytest

from slimjax.errors import ConfigError
from slimjax.paths import cache_root, check_utf8, printable, user_path
from slimjax.store.run_folder import RunFolder


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_path("~/runs/x") == Path("/home/somebody/runs/x")
    assert user_path("~") == Path("/home/somebody")
    assert user_path("a~/~b") == Path("a~/~b")


def test_a_name_that_is_not_utf8_opens_its_file_and_can_be_printed(tmp_path):
    raw = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(raw, "wb") as file:
        file.write(b"ink")
    for text in (raw, os.fsdecode(raw), Path(os.fsdecode(raw))):
        path = user_path(text)
        assert path.read_bytes() == b"ink"
        assert printable(path).endswith(r"/caf\xe9.txt")
        printable(path).encode("utf-8")


@pytest.mark.parametrize("text", ["caf\udce9", "\ud800 alone", "\udcff\ud83d", "漢"])
def test_any_text_can_be_made_printable(text):
    printable(text).encode("utf-8")


@pytest.mark.parametrize("text", ["", " ", "a\0b"])
def test_what_no_file_can_be_called_is_refused(text):
    with pytest.raises(ConfigError, match="--workdir"):
        user_path(text, "--workdir")


def test_a_tilde_without_a_home_is_refused(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    with pytest.raises(ConfigError, match="HOME"):
        user_path("~/runs", "--workdir")


def test_the_cache_has_a_place_without_a_home(monkeypatch, tmp_path):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SLIMJAX_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_root()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="SLIMJAX_CACHE"):
        cache_root()


def test_folders_of_libraries_in_cpp_must_be_utf8(monkeypatch, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    assert check_utf8(tmp_path, "--workdir") == tmp_path
    with pytest.raises(ConfigError, match=r"--workdir=.*caf\\xe9 is not UTF-8"):
        check_utf8(odd, "--workdir")
    monkeypatch.setenv("SLIMJAX_CACHE", str(odd))
    with pytest.raises(ConfigError, match="SLIMJAX_CACHE"):
        cache_root()
    with pytest.raises(ConfigError, match="not UTF-8"):
        RunFolder(odd / "run").check_writable()


def test_the_cache_can_be_named_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("SLIMJAX_CACHE", "~/cache")
    assert cache_root() == Path("/home/somebody/cache")
    monkeypatch.delenv("SLIMJAX_CACHE")
    assert cache_root() == Path("/home/somebody/.cache/slimjax")
