"""Files of a run folder: whole or not there."""

import json
import os
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from shapes import make_variables
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from slimjax.errors import CheckpointError, ConfigError
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.store.files import read_json, reason_of, write_json
from slimjax.store.metrics_log import Events, JsonLines
from slimjax.store.packed import read_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.trees import flatten


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("inf"), "y": [1, float("nan")]})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [1, None]}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert read_json(tmp_path / "a.json") == 1
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_log_forgets_what_a_resumed_run_will_write_again(tmp_path):
    log = JsonLines(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        log.append({"step": step})
    with open(log.path, "a") as file:
        file.write('{"step": 4, "lo')  # A kill tore this line.
    log.cut_back(2)
    log.append({"step": 3, "again": True})
    assert log.read() == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_packed_weights_of_16_bits_are_bfloat16(tmp_path):
    config = decoder(16, 8, (LayerConfig(2, 1, 4, 6),))
    variables, names = make_variables(config)
    write_packed(tmp_path / "m.safetensors", variables["params"], names["params"])
    again = flatten(read_packed(tmp_path / "m.safetensors"))
    for path, leaf in flatten(variables["params"]).items():
        expected = leaf.astype(jnp.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(again[path], expected)
        assert again[path].dtype == np.float32


@pytest.fixture
def packed(tmp_path):
    """Returns a small packed file."""
    config, path = decoder(7, 4, (LayerConfig(2, 1, 2, 5),)), tmp_path / "m.safetensors"
    variables, names = make_variables(config)
    write_packed(path, variables["params"], names["params"])
    return path


def test_each_changed_byte_of_a_packed_file_is_refused(packed):
    content = packed.read_bytes()
    for where in range(len(content)):
        changed = bytearray(content)
        changed[where] ^= (0x01, 0x55, 0x80)[where % 3]
        packed.write_bytes(changed)
        with pytest.raises(CheckpointError) as error:
            read_packed(packed)
        assert "\n" not in str(error.value)
    for other in (content[:-1], content + b"\0"):
        packed.write_bytes(other)
        with pytest.raises(CheckpointError):
            read_packed(packed)


def test_a_packed_file_of_an_earlier_version_has_no_digest(packed):
    content, expected = packed.read_bytes(), flatten(read_packed(packed))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    del header["__metadata__"]["digest"]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    packed.write_bytes(len(text).to_bytes(8, "little") + text + content[start:])
    found = flatten(read_packed(packed))
    assert found.keys() == expected.keys()
    for path, weight in found.items():
        np.testing.assert_array_equal(weight, expected[path])


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 64, b"\x08" + b"\0" * 7])
def test_a_damaged_packed_file_is_one_line(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        read_packed(tmp_path / "m.safetensors")


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds other files"):
        RunFolder(tmp_path).check_writable()
    with pytest.raises(CheckpointError, match="holds no run"):
        RunFolder(tmp_path).check_run()


def test_a_line_that_cannot_be_written_waits(tmp_path, monkeypatch):
    log, write = JsonLines(tmp_path / "metrics.jsonl"), os.write
    log.append({"step": 1})
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:5]))
    assert "No space left" in log.append({"step": 2})  # A full disk took a part.
    assert log.path.read_text() == '{"step": 1}\n'
    monkeypatch.undo()
    assert log.append({"step": 3}) == ""
    assert [entry["step"] for entry in log.read()] == [1, 2, 3]


def test_events_are_what_tensorboard_reads(tmp_path):
    events = Events(tmp_path / "events", resumed_step=3)
    events.append({"step": 4, "loss": 1.5, "name": "x"})
    records = read_records(events.path.read_bytes())
    assert records[0].file_version == "brain.Event:2"
    assert records[1].step == 3
    assert [(v.tag, v.simple_value) for v in records[2].summary.value] == [
        ("loss", 1.5)
    ]


def read_records(content: bytes) -> list:
    records = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        for part, at in ((content[:8], 8), (content[12 : 12 + length], 12 + length)):
            assert struct.unpack("<I", content[at : at + 4])[0] == masked_crc32c(part)
        records.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return records


def test_a_link_in_a_run_folder_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "run" / "metrics.jsonl").symlink_to(tmp_path / "else")
    with pytest.raises(ConfigError, match=r"metrics\.jsonl is a link"):
        RunFolder(tmp_path / "run").check_writable()


def test_a_kill_before_the_first_file_leaves_a_folder_to_begin_in(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.abc").touch()
    RunFolder(tmp_path).check_writable()
    RunFolder(tmp_path).remove_leftovers()
    assert os.listdir(tmp_path) == [".lock"]


def test_hidden_files_of_others_stay_in_a_folder_to_begin_in(tmp_path):
    (tmp_path / ".config.d.git").mkdir()
    for name in (".env.local", ".eslintrc.json.bak", ".notes.20261127"):
        (tmp_path / name).write_text("mine")
    for name in ("report.html", "model.packed.safetensors", "losses-test.jsonl"):
        (tmp_path / f".{name}.k3_x9a0b").touch()
    others = {".config.d.git", ".env.local", ".eslintrc.json.bak", ".notes.20261127"}
    RunFolder(tmp_path).remove_leftovers()
    assert {path.name for path in tmp_path.iterdir()} == others


def test_two_runs_cannot_share_a_folder(tmp_path):
    with (
        RunFolder(tmp_path).lock(),
        pytest.raises(CheckpointError, match="another process"),
        RunFolder(tmp_path).lock(),
    ):
        pass


def test_a_packed_file_is_read_from_a_folder_that_is_not_utf8(tmp_path):
    variables, names = make_variables(decoder(11, 8, (LayerConfig(2, 1, 4, 5),)))
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_packed(folder / "a.safetensors", variables["params"], names["params"])
    assert flatten(read_packed(folder / "a.safetensors")).keys()


def test_a_name_that_is_not_utf8_comes_back_from_json(tmp_path):
    write_json(tmp_path / "a.json", {"source": "text:caf\udce9.txt", "name": "é"})
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    found = read_json(tmp_path / "a.json")
    assert found == {"source": "text:caf\udce9.txt", "name": "é"}


def test_the_systems_reason_comes_first_whoever_wrapped_it():
    wrapped = ValueError("cannot write " + "x" * 300)
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert reason_of(wrapped) == "No space left on device"
    assert reason_of(ValueError("x" * 300)) == "x" * 200
    message = "RESOURCE_EXHAUSTED: Failed at /a: No space [os_error_code='28']"
    assert reason_of(RuntimeError(message)) == "No space left on device"
