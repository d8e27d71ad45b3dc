"""No character and no lack of memory ends a command with a traceback."""

import io
import json
import sys

import jax
import pytest

from slimjax.cli import main as command_line
from slimjax.cli.flags import print_json
from slimjax.cli.streams import prepare_streams, write_error
from slimjax.memory import check_fits, free_bytes

TEXT = "\u82cd\u9e6d \U0001f600 caf\udce9"


ENCODINGS = pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])


def replace_streams(monkeypatch, encoding: str) -> list[io.TextIOWrapper]:
    """Puts streams of another encoding in the place of stdout and stderr."""
    made = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", made[0])
    monkeypatch.setattr(sys, "stderr", made[1])
    prepare_streams()
    return made


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@ENCODINGS
def test_no_character_makes_a_stream_fail(monkeypatch, encoding):
    streams = replace_streams(monkeypatch, encoding)
    print(TEXT)
    write_error(f"{TEXT}\x1b[2J\nis wrong")
    assert "caf" in written(streams[0])
    line = written(streams[1])
    assert line.startswith("slimjax: ")
    assert line.endswith("is wrong\n")
    assert line.count("\n") == 1
    assert "\x1b" not in line


@ENCODINGS
def test_json_is_json_in_every_encoding(monkeypatch, encoding):
    streams = replace_streams(monkeypatch, encoding)
    print_json({"text": TEXT})
    assert json.loads(written(streams[0])) == {"text": TEXT}


def fail_with(monkeypatch, error: Exception) -> None:
    def run(argv) -> None:
        del argv
        raise error

    monkeypatch.setattr(command_line, "run", run)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7 TiB"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 7"),
        jax.errors.JaxRuntimeError("INTERNAL: std::bad_alloc"),
    ],
)
def test_a_lack_of_memory_is_one_line(capsys, monkeypatch, error):
    fail_with(monkeypatch, error)
    assert command_line.main(["train"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "out of memory" in lines[0]


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch):
    error = jax.errors.JaxRuntimeError("INTERNAL: a bug")
    fail_with(monkeypatch, error)
    with pytest.raises(jax.errors.JaxRuntimeError):
        command_line.main(["train"])


def test_free_memory_is_known_and_compared():
    assert 1 << 20 < free_bytes() < 1 << 62
    with pytest.raises(Exception, match=r"this needs .* are free\. Take less\."):
        check_fits(1 << 62, free_bytes(), "this", "Take less.")
