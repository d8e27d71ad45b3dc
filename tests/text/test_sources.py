"""What becomes of files: documents that lose nothing, or a line that says why not."""

import gzip
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.errors import DataError
from slimjax.text.corpus import choose_document_bytes, iterate_documents
from slimjax.text.cutting import cut_bytes, cut_text
from slimjax.text.skips import Skips

PACKED = gzip.compress(b"abc" * 99, mtime=0)
LINES = st.text(alphabet="ab \r\n\té汉🙂", max_size=200)


@given(LINES, st.integers(4, 40), st.integers(1, 50))
def test_documents_concatenate_to_the_text_however_it_arrives(text, max_bytes, size):
    data = text.encode()
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    parts = list(cut_bytes(blocks, max_bytes))
    assert "".join(part.decode() for part in parts) == text
    assert all(0 < len(part) <= max_bytes for part in parts)
    assert parts == list(cut_bytes([data], max_bytes))


@given(st.binary(max_size=200), st.integers(4, 40))
def test_bytes_that_are_no_text_are_cut_without_loss_too(data, max_bytes):
    assert b"".join(cut_bytes([data], max_bytes)) == data


def test_text_is_cut_at_blank_lines_then_lines_then_characters():
    assert list(cut_text("ab\n\ncd\nef", 7)) == ["ab\n\n", "cd\nef"]
    assert list(cut_text("ab\ncd\nef", 7)) == ["ab\ncd\n", "ef"]
    assert list(cut_text("汉汉汉", 7)) == ["汉汉", "汉"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_long_file_is_cut_into_documents_of_64_kb(tmp_path, suffix):
    paragraphs = "".join(f"{i} is a number.\nSo it is, 汉.\n\n" for i in range(20_000))
    write(tmp_path / f"a.txt{suffix}", "\ufeff" + paragraphs)
    documents = list(iterate_documents(f"text:{tmp_path}/**/*.txt*"))
    assert "".join(documents) == paragraphs
    assert len(documents) > 5
    assert all(len(d.encode()) <= 1 << 16 and d.endswith("\n\n") for d in documents)


def test_files_come_in_the_order_of_their_paths_and_once_each(tmp_path):
    for name in ("b.txt", "a/z.txt", "a.txt", "c.md"):
        write(tmp_path / name, name)
    (tmp_path / "link.txt").symlink_to(tmp_path / "b.txt")
    (tmp_path / "folder.txt").mkdir()
    found = list(iterate_documents(f"text:{tmp_path}/**/*.txt"))
    assert found == ["a.txt", "a/z.txt", "b.txt"]


def test_a_home_a_path_and_a_path_with_brackets_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "[1].txt", "x")
    assert list(iterate_documents("text:~/[1].txt")) == ["x"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_records_give_the_text_of_their_field(tmp_path, suffix):
    texts = ["one", "two\nlines\t\0", "三🙂", "\u2028 x"]
    lines = [json.dumps({"id": i, "text": t}) for i, t in enumerate(texts)]
    write(tmp_path / f"a.jsonl{suffix}", "\ufeff" + "\n\n".join(lines))
    source = f"jsonl:{tmp_path}/*.jsonl{suffix}#text"
    assert list(iterate_documents(source)) == texts


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"\n\n", "line 1", "empty"),
        (b'{"text": "ok"}\n{"text": }', "line 2", "broken_json"),
        (b"[" * 100_000, "line 1", "broken_json"),
        (b'\n{"txt": "ok"}', "line 2", "missing_field"),
        (b'["text"]', "line 1", "missing_field"),
        (b'{"text": 7}', "line 1", "not_text"),
        (b'{"text": ""}', "line 1", "empty"),
        (b'{"text": "\\ud800"}', "line 1", "not_utf8"),
        (b'{"text": "ok"}\n{"text": "\xff"}', "line 2, byte offset 25", "not_utf8"),
    ],
)
def test_a_bad_record_is_an_error_with_its_line_or_skipped(
    tmp_path, content, place, reason
):
    check_bad(tmp_path / "a.jsonl", content, place, reason, scheme="jsonl")


@pytest.mark.parametrize(
    ("name", "content", "place", "reason"),
    [
        ("a.txt", b"", "line 1", "empty"),
        ("a.txt", b"\xef\xbb\xbf", "line 1", "empty"),
        ("a.txt", b"ab\nc\xffd", "line 2, byte offset 4", "not_utf8"),
        ("a.txt", b"a\n" * 50_000 + b"\xe6", "line 50001, byte offset 100000", "not"),
        ("a.gz", b"no gzip", "a.gz", "broken_gzip"),
        ("a.gz", PACKED[:-9], "a.gz", "broken_gzip"),
        ("a.gz", PACKED[:12] + b"\xff" * 9, "a.gz", "broken_gzip"),
    ],
)
def test_a_bad_file_is_an_error_with_its_place_or_skipped(
    tmp_path, name, content, place, reason
):
    check_bad(tmp_path / name, content, place, reason, scheme="text")


def check_bad(path, content, place, reason, *, scheme):
    path.write_bytes(content)
    source = f"{scheme}:{path}" + ("#text" if scheme == "jsonl" else "")
    with pytest.raises(DataError) as caught:
        list(iterate_documents(source))
    message = str(caught.value)
    assert str(path) in message
    assert place in message
    assert "\n" not in message
    skips = Skips()
    list(iterate_documents(source, on_bad_document="skip", skips=skips))
    assert skips.reasons.total() == 1
    assert next(iter(skips.reasons)).startswith(reason)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("*.md", "matches no file"),
        ("", "is a folder"),
        ("a.tx", "Did you mean a.txt?"),
        ("no/where.txt", "nor does its folder"),
    ],
)
def test_files_that_are_not_there_are_an_error_with_a_remedy(tmp_path, pattern, hint):
    write(tmp_path / "a.txt", "x")
    with pytest.raises(DataError, match=hint.replace("?", r"\?")):
        list(iterate_documents(f"text:{tmp_path}/{pattern}"))


def test_the_standard_library_is_read_without_its_tests():
    documents = list(iterate_documents("stdlib"))
    assert len(documents) > 300
    assert sum(len(d) for d in documents) > 3_000_000


def test_a_small_corpus_is_cut_finer_and_a_large_one_is_not(tmp_path):
    write(tmp_path / "a.txt", "one line\n" * 40_000)
    assert choose_document_bytes(f"text:{tmp_path}/a.txt") == 1800
    write(tmp_path / "b.jsonl.gz", '{"text": "x"}\n' * 40_000)
    assert choose_document_bytes(f"jsonl:{tmp_path}/b.jsonl.gz#text") == 1 << 16


def write(path, text):
    os.makedirs(path.parent, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_several_sources_are_read_in_turn_and_commas_may_be_part_of_a_name(tmp_path):
    write(tmp_path / "a,b.txt", "one")
    write(tmp_path / "c.txt", "two")
    write(tmp_path / "d.jsonl", '{"body": "three"}')
    write(tmp_path / "e.tsv", "n\tbody\n1\tfour\n")
    first, second = f"text:{tmp_path}/a,b.txt", f"text:{tmp_path}/c.txt"
    third, fourth = f"jsonl:{tmp_path}/d.jsonl#body", f"csv:{tmp_path}/e.tsv#body"
    expected = ["one", "two", "three", "four"]
    for names in (
        [first, second, third, fourth],
        f"{first},{second},{third},{fourth}",
        (first, second, third, fourth, second),
    ):
        assert list(iterate_documents(names)) == expected
    assert list(iterate_documents(first)) == ["one"]
    write(tmp_path / "a.txt,text:b.txt", "five")
    assert list(iterate_documents(f"text:{tmp_path}/a.txt,text:b.txt")) == ["five"]
    write(tmp_path / "a#b.jsonl", '{"body": "six"}')
    sharp = iterate_documents(f"jsonl:{tmp_path}/a#b.jsonl", field="body")
    assert list(sharp) == ["six"]
    whole = iterate_documents([f"jsonl:{tmp_path}/d.jsonl"], field="body")
    assert list(whole) == ["three"]


def test_a_pipe_a_socket_and_a_device_are_said_to_be_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path, kind in (("pipe", "a pipe"), ("s", "a socket")):
            with pytest.raises(DataError, match=f"is {kind}, not a file"):
                list(iterate_documents(f"text:{tmp_path}/{path}"))
    with pytest.raises(DataError, match="is a device, not a file"):
        list(iterate_documents("text:/dev/null"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is a link to .*nowhere, which"):
        list(iterate_documents(f"text:{tmp_path}/link"))


def test_names_that_are_not_utf_8_are_read_and_shown(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "wb") as file:
        file.write(b"x")
    for name in (os.fsdecode(path), f"{tmp_path}/*.txt", f"{tmp_path}/caf?.txt"):
        assert list(iterate_documents(f"text:{name}")) == ["x"]
    with open(path, "wb") as file:
        file.write(b"\xff")
    with pytest.raises(DataError, match=r"caf\\xe9\.txt, line 1"):
        list(iterate_documents(f"text:{tmp_path}/*.txt"))
    with pytest.raises(DataError, match=r"caf\\xe8\.txt does not exist"):
        list(iterate_documents(f"text:{tmp_path}/caf\udce8.txt"))


def test_what_is_skipped_is_one_line_with_counts_reasons_and_files(tmp_path):
    write(tmp_path / "good.jsonl", '{"text": "x"}\n' * 3)
    for i in range(5):
        write(tmp_path / f"bad{i}.jsonl", '{"text": ""}\n{"text": 3}\n')
    skips = Skips()
    source = f"jsonl:{tmp_path}/*.jsonl#text"
    read = iterate_documents(source, on_bad_document="skip", skips=skips)
    assert list(read) == ["x"] * 3
    line = skips.describe("config.data.on_bad_document", "documents")
    assert line.startswith("config.data.on_bad_document=skip left out 10 documents: ")
    assert f"5 empty ({tmp_path}/bad0.jsonl, " in line
    assert "5 not_text (" in line
    assert "and 2 more files)" in line
    assert Skips().describe("config.data.on_bad_document", "documents") == ""
