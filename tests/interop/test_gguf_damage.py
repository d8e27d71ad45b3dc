"""Damaged and hostile GGUF files end in one line, or are read as they were."""

import functools
import struct
import time

import gguf_models as files
import numpy as np
import pytest

from slimjax.errors import DataError
from slimjax.interop.gguf_header import read_header
from slimjax.interop.gguf_reading import read_gguf

SECONDS = 5.0
"""More than any tiny file takes, however it was changed."""


RAGGED = ((4, 2, 64), (0, 0, 64), (4, 1, 32))
MAKERS = {
    "llama-F16": lambda path: files.llama_file(
        path, kind="F16", tokenizer=files.byte_level_settings("smollm")
    ),
    "llama-Q4_1": lambda path: files.llama_file(
        path,
        kind="Q4_1",
        tokenizer=files.sentence_piece_settings(),
        vocab=len(files.sentence_piece_settings()["ggml.tokens"]),
    ),
    "qwen2-Q8_0": lambda path: files.llama_file(
        path,
        arch="qwen2",
        biases=True,
        kind="Q8_0",
        tokenizer=files.byte_level_settings("qwen2"),
    ),
    "deci-Q8_0": lambda path: files.llama_file(
        path,
        RAGGED,
        arch="deci",
        kind="Q8_0",
        tokenizer=files.byte_level_settings("smollm"),
    ),
    "gpt2-F32": files.gpt2_file,
    "bert-F16": lambda path: files.bert_file(path, kind="F16"),
}
"""Functions that write a file, by architecture and type of its matrices."""

OTHERS = [kind for kind in MAKERS if kind != "llama-F16"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Returns the function from a kind to a file's bytes and where numbers begin."""
    known = {}

    def make(kind):
        if kind not in known:
            path = MAKERS[kind](tmp_path_factory.mktemp("whole") / "m.gguf")
            header = read_header(path)
            start = min(tensor.offset for tensor in header.tensors.values())
            known[kind] = path.read_bytes(), start
        return known[kind]

    return make


@pytest.fixture(scope="module")
def whole(make):
    """Returns the bytes of a Llama's file, and where its numbers begin."""
    return make("llama-F16")


def contents(path):
    """Returns all that a file amounts to."""
    model = read_gguf(path)
    arrays = {name: tensor.read() for name, tensor in model.tensors.items()}
    return model.config, dict(model.files), arrays


def is_same(one, other):
    if one[:2] != other[:2] or one[2].keys() != other[2].keys():
        return False
    return all(np.array_equal(one[2][name], other[2][name]) for name in one[2])


def refusal(path, data):
    """Returns the one line that a file ends in, or nothing; holds the time."""
    path.write_bytes(data)
    started = time.monotonic()
    try:
        contents(path)
    except DataError as error:
        message = str(error)
        assert len(message.splitlines()) == 1, message
        return message
    finally:
        assert time.monotonic() - started < SECONDS
    return ""


def random_changes(data, header_length, seed):
    """Returns the data with bytes changed, cut off, put in or taken out."""
    random = np.random.default_rng(seed)
    changed = bytearray(data)
    place = int(random.integers(header_length if seed % 4 else len(data)))
    kind = seed % 6
    if kind == 0:
        return bytes(changed[:place])
    if kind == 1:
        del changed[place : place + int(random.integers(1, 9))]
    elif kind == 2:
        changed[place:place] = random.bytes(int(random.integers(1, 9)))
    elif kind == 3:
        changed[place : place + 8] = struct.pack("<Q", int(random.integers(1 << 63)))
    elif kind == 4:
        changed[place : place + 4] = b"\xff\xff\xff\xff"
    else:
        changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def shapes_of(path):
    return {name: array.shape for name, array in contents(path)[2].items()}


def check_random(folder, whole, seeds):
    """A setting or a number may be another one; no tensor has another name or shape."""
    data, start = whole
    path, outcomes = folder / "m.gguf", set()
    path.write_bytes(data)
    expected = shapes_of(path)
    for seed in seeds:
        message = refusal(path, random_changes(data, start, seed))
        outcomes.add(bool(message))
        if not message:
            assert shapes_of(path) == expected
    assert outcomes == {True, False}


def test_random_changes_never_crash_or_hang(tmp_path, whole):
    check_random(tmp_path, whole, range(200))


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_a_thousand_random_changes_never_crash_or_hang(tmp_path, make, kind):
    check_random(tmp_path, make(kind), range(1000, 1200))


def places(data):
    """Yields the places of a file's structure: counts, lengths, types, names, offsets.

    What a setting says is left out: a number or a text that stands nowhere else may be
    another one, and nobody can tell.
    """
    yield from range(0, 24)
    at = 24
    number = lambda code, at: struct.unpack_from(code, data, at)[0]
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    tensors, settings = struct.unpack_from("<QQ", data, 8)
    for _ in range(settings):
        length = number("<Q", at)
        kind = number("<I", at + 8 + length)
        yield from range(at, at + 8 + length + 4)
        at += 12 + length
        if kind == 8:
            yield from range(at, at + 8)
            at += 8 + number("<Q", at)
        elif kind == 9:
            yield from range(at, at + 12)
            inner, count = number("<I", at), number("<Q", at + 4)
            at += 12
            for _ in range(count if inner == 8 else 0):
                yield from range(at, at + 8)
                at += 8 + number("<Q", at)
            at += 0 if inner == 8 else count * sizes[inner]
        else:
            at += sizes[kind]
    for _ in range(tensors):
        length = number("<Q", at)
        size = 8 + length + 4 + 8 * number("<I", at + 8 + length) + 12
        yield from range(at, at + size)
        at += size


def check_structure(folder, whole, seeds):
    data, start = whole
    path = folder / "m.gguf"
    path.write_bytes(data)
    expected = contents(path)
    spots = list(places(data))
    assert len(spots) > 1000
    assert max(spots) < start
    for seed in seeds:
        random = np.random.default_rng(seed)
        changed, spot = bytearray(data), spots[int(random.integers(len(spots)))]
        changed[spot] ^= int(random.integers(1, 256))
        if not refusal(path, bytes(changed)):
            assert is_same(contents(path), expected), spot


def test_a_changed_structure_is_seen_or_changes_nothing(tmp_path, whole):
    check_structure(tmp_path, whole, range(200))


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_a_thousand_changes_of_the_structure_are_seen(tmp_path, make, kind):
    check_structure(tmp_path, make(kind), range(1000, 1200))


def header(*parts, version=3, tensors=0, settings=1):
    start = b"GGUF" + struct.pack("<IQQ", version, tensors, settings)
    return start + b"".join(parts)


def text(value):
    return struct.pack("<Q", len(value)) + value


HUGE = (1 << 63) - 1
HOSTILE = {
    "empty": b"",
    "magic": b"GGML" + bytes(64),
    "version 1": header(version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "counts of settings": header(settings=HUGE),
    "counts of tensors": header(tensors=HUGE, settings=0),
    "length of a name": header(struct.pack("<Q", HUGE)) + bytes(64),
    "length of a text": header(text(b"a"), struct.pack("<IQ", 8, HUGE)) + bytes(64),
    "length of a list": header(text(b"a"), struct.pack("<IIQ", 9, 4, HUGE)),
    "a list of texts": header(text(b"a"), struct.pack("<IIQ", 9, 8, HUGE)),
    "lists of lists": header(text(b"a"), struct.pack("<IIQ", 9, 9, 1)) + bytes(64),
    "an unknown type": header(text(b"a"), struct.pack("<I", 77)) + bytes(64),
    "a flag of 2": header(text(b"a"), struct.pack("<IB", 7, 2)) + bytes(64),
    "not a number": header(text(b"a"), struct.pack("<If", 6, float("nan"))),
    "bytes that are no text": header(text(b"\xff\xfe"), struct.pack("<IB", 0, 2)),
    "alignment": header(
        text(b"general.alignment"), struct.pack("<II", 4, 12), tensors=0
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_end_in_one_line(tmp_path, name):
    assert "m.gguf" in refusal(tmp_path / "m.gguf", HOSTILE[name])


def one_tensor(dims, kind=0, offset=0, name=b"a"):
    info = text(name) + struct.pack("<I", len(dims))
    info += b"".join(struct.pack("<Q", dim) for dim in dims)
    return header(info, struct.pack("<IQ", kind, offset), tensors=1, settings=0)


BAD_TENSORS = {
    "shape": one_tensor([HUGE]),
    "product": one_tensor([1 << 32, 1 << 32, 4]),
    "none": one_tensor([0]),
    "many": one_tensor([1] * 99),
    "offset": one_tensor([4], offset=1 << 40),
    "unknown to the library": one_tensor([64], kind=42),
    "integers": one_tensor([4], kind=26),
    "blocks": one_tensor([33], kind=8),
    "name": one_tensor([4], name=b""),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_hostile_tensors_end_in_one_line(tmp_path, name):
    assert refusal(tmp_path / "m.gguf", BAD_TENSORS[name] + bytes(4096))


def test_a_type_that_looks_whole_but_is_another_is_seen(tmp_path):
    make = functools.partial(files.llama_file, tmp_path / "m.gguf", kind="F16")
    path = make(general__file_type=1)
    assert contents(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"blk.1.ffn_down.weight") + len("blk.1.ffn_down.weight") + 4 + 16
    assert struct.unpack_from("<I", data, at)[0] == 1
    struct.pack_into("<I", data, at, 30)
    assert "BF16" in refusal(path, bytes(data))


def test_a_file_that_shrinks_after_it_was_read_is_refused(tmp_path):
    path = files.llama_file(tmp_path / "m.gguf")
    model = read_gguf(path)
    path.write_bytes(path.read_bytes()[:-4000])
    last = model.tensors["model.layers.1.mlp.down_proj.weight"]
    with pytest.raises(DataError, match="ends before the numbers"):
        last.read()


def test_no_file_and_a_folder_end_in_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(DataError, match="cannot be read"):
            read_gguf(path)
