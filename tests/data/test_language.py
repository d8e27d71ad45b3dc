"""What a corpus promises: all of the text in rows, made once and never trusted."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import DataConfig, load_language_dataset
from slimjax.data.rows import (
    RowWriter,
    documents_path,
    open_documents,
    open_row_bytes,
    open_rows,
)
from slimjax.data.tokenizer import BytesTokenizer
from slimjax.errors import ConfigError, DataError
from slimjax.text.corpus import choose_document_bytes, iterate_documents
from slimjax.text.splits import hash_document

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def book(tmp_path):
    """A file of 200 kB, in paragraphs."""
    verses = [f"Verse {i}\n\tsings of {i * i % 997}, twice.\n\n" for i in range(6500)]
    path = tmp_path / "book.txt"
    path.write_text("".join(verses), encoding="utf-8")
    return path


def configure(path, **changes):
    defaults = {"source": f"text:{path}", "vocab_size": 400, "seq_len": 32}
    return DataConfig(**(defaults | changes))


@given(st.lists(st.lists(st.integers(3, 258), max_size=9), max_size=9), st.booleans())
def test_rows_concatenate_to_the_stream(tmp_path_factory, documents, pad):
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    writer = RowWriter(path, 7, BytesTokenizer(), held_out=pad)
    for document in documents:
        sizes = np.append(np.ones(len(document), np.int32), 0)
        writer.append(np.array(document, np.int32), sizes)
    writer.finish()
    stream = [token for document in documents for token in [*document, 2]]
    assert writer.num_tokens == len(stream)
    rest = len(stream) % 7
    if pad:
        stream += [0] * (-len(stream) % 7)
    elif rest:
        stream = stream[:-rest]
    rows = open_rows(path)
    np.testing.assert_array_equal(rows, np.array(stream, np.uint16).reshape(-1, 7))
    assert not rows.flags.writeable
    np.testing.assert_array_equal(open_row_bytes(path), (rows > 2).sum(axis=1))
    assert documents_path(path).is_file() == pad
    if pad:
        sizes = [[len(document) + 1, len(document)] for document in documents]
        np.testing.assert_array_equal(open_documents(path), np.reshape(sizes, (-1, 2)))


def test_each_document_outside_test_is_held_out_once(book):
    whole = load_language_dataset(configure(book, tokenizer="bytes"))
    folds = [
        load_language_dataset(
            configure(book, tokenizer="bytes", num_folds=3, fold=i, valid_fraction=0.4)
        )
        for i in range(3)
    ]
    test = whole.splits["test"]["tokens"]
    for fold in folds:
        np.testing.assert_array_equal(fold.splits["test"]["tokens"], test)
        assert fold.count("bytes", "valid") > 0.15 * fold.count("bytes", "train")
    assert len({fold.fingerprint for fold in folds}) == 3
    texts = [split_documents(fold) for fold in folds]
    held_out = Counter(text for own in texts for text in own["valid"])
    assert max(held_out.values()) == 1
    for own in texts:
        assert not {*own["valid"]} & {*own["train"]}
        assert not {*own["valid"]} & {*own["test"]}


def split_documents(dataset) -> dict[str, list[bytes]]:
    """Returns the whole documents of each split, from the rows alone."""
    return {
        split: np.asarray(fields["tokens"], np.uint16).tobytes().split(b"\x02\x00")[:-1]
        for split, fields in dataset.splits.items()
    }


def test_an_empty_fold_is_refused(tmp_path):
    path = tmp_path / "few.txt"
    path.write_text("one\n\n" * 30, encoding="utf-8")
    with pytest.raises(DataError, match=r"Fold \d of 9 has no document"):
        load_language_dataset(
            configure(path, tokenizer="bytes", num_folds=9, test_fraction=0.0)
        )


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "bytes"])
def test_the_rows_hold_all_the_text_of_all_splits(book, tokenizer):
    config = configure(book, tokenizer=tokenizer)
    corpus = load_language_dataset(config)
    documents = iterate_documents(
        config.source, max_bytes=choose_document_bytes(config.source)
    )
    written = sorted(documents)
    decoded = []
    for split in SPLITS:
        stream = corpus.splits[split]["tokens"].reshape(-1)
        assert len(corpus.splits[split]["tokens"]) > 0
        parts = np.split(stream, np.flatnonzero(stream == 2) + 1)
        texts = [corpus.tokenizer.decode(part) for part in parts]
        decoded += texts[:-1]
        assert corpus.counts["bytes"][split] > 0
        if split != "train":
            assert corpus.counts["tokens"][split] == np.count_nonzero(stream)
            assert corpus.counts["documents"][split] == len(texts) - 1
            assert corpus.counts["bytes"][split] == len("".join(texts).encode())
    assert sum(corpus.counts["bytes"].values()) == book.stat().st_size
    missing = [text for text in written if text not in set(decoded)]
    assert len(missing) <= 2  # The end of train, which fills no row, touches so many.
    assert set(decoded) <= set(written)


def test_splits_are_disjoint_although_documents_repeat(tmp_path):
    lines = [json.dumps({"text": f"{i % 200} bottles"}) for i in range(1000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = f"jsonl:{tmp_path}/a.jsonl#text"
    corpus = load_language_dataset(
        configure("", source=source, tokenizer="bytes", seq_len=8)
    )
    seen = {}
    for split in SPLITS:
        stream = corpus.splits[split]["tokens"].reshape(-1)
        for part in np.split(stream, np.flatnonzero(stream == 2) + 1)[:-1]:
            text = corpus.tokenizer.decode(part)
            assert seen.setdefault(hash_document(text), split) == split
    assert sum(corpus.counts["documents"].values()) == 1000


def test_fractions_of_zero_leave_valid_and_test_empty(book):
    corpus = load_language_dataset(
        configure(book, valid_fraction=0.0, test_fraction=0.0)
    )
    assert corpus.num_rows("valid") == corpus.num_rows("test") == 0
    assert sum(corpus.counts["bytes"].values()) == corpus.counts["bytes"]["train"]


def test_the_fingerprint_is_of_the_content_not_of_the_place(book, tmp_path):
    packed = tmp_path / "elsewhere.gz"
    packed.write_bytes(gzip.compress(book.read_bytes()))
    first, second = (
        load_language_dataset(configure(book)),
        load_language_dataset(configure(packed)),
    )
    assert first.fingerprint == second.fingerprint
    for change in ({"seq_len": 31}, {"test_fraction": 0.1}, {"vocab_size": 401}):
        assert (
            load_language_dataset(configure(book, **change)).fingerprint
            != first.fingerprint
        )
    book.write_text(book.read_text("utf-8") + "!", encoding="utf-8")
    assert load_language_dataset(configure(book)).fingerprint != first.fingerprint


def test_the_second_time_comes_from_the_cache(book, cache):
    first = load_language_dataset(configure(book))
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    seen = []
    second = load_language_dataset(
        configure(book), progress=lambda *event: seen.append(event)
    )
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == written
    for field in dataclasses.fields(first):
        if field.name not in ("splits", "row_counts", "codecs", "documents"):
            values = (getattr(d, field.name) for d in (first, second))
            assert next(values) == next(values)
    assert {stage for stage, _ in seen} == {"read", "tokenizer", "encode"}
    assert all(0.0 <= fraction <= 1.0 for _, fraction in seen)


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "empty", "folder"])
def test_a_damaged_cache_is_made_anew(book, cache, damage):
    expected = np.array(
        load_language_dataset(configure(book)).splits["train"]["tokens"]
    )
    for path in [path for path in cache.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        if damage == "change":
            path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
        elif damage in ("cut", "empty"):
            path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
        else:
            path.unlink()
            if damage == "folder":
                path.mkdir()
        again = load_language_dataset(configure(book))
        np.testing.assert_array_equal(again.splits["train"]["tokens"], expected)
    assert not list(cache.glob(".draft-*"))


def test_a_cache_that_cannot_be_written_is_named(book, cache):
    cache.write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match="SLIMJAX_CACHE"):
        load_language_dataset(configure(book))


def test_two_processes_may_prepare_the_same_corpus(book):
    code = (
        "from slimjax.data import DataConfig, load_language_dataset\n"
        f"config = DataConfig(source='text:{book}', vocab_size=400, seq_len=32)\n"
        "c = load_language_dataset(config)\n"
        "print(c.fingerprint, c.count('bytes', 'valid'))"
    )
    command = [sys.executable, "-c", code]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(outputs) == 1


def test_bad_documents_are_counted_when_they_may_be_skipped(book, tmp_path):
    (tmp_path / "z.txt").write_bytes(b"\xff")
    (tmp_path / "y.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"y\.txt"):
        load_language_dataset(configure(tmp_path / "*.txt"))
    corpus = load_language_dataset(
        configure(tmp_path / "*.txt", on_bad_document="skip")
    )
    assert corpus.counts["skipped"] == {"empty": 1, "not_utf8": 1}
    assert sum(corpus.counts["bytes"].values()) == book.stat().st_size


@pytest.mark.parametrize(
    ("text", "changes", "error", "match"),
    [
        ("a", {}, DataError, "1 different documents for 3 splits"),
        ("aaaa\n\n" * 9000, {}, DataError, "config.data.valid_fraction=0"),
        ("word " * 900, {"vocab_size": 5000}, ConfigError, "the largest is"),
        ("word " * 900, {"seq_len": 9999}, DataError, "config.data.seq_len=9999"),
        ("\xff", {"on_bad_document": "skip"}, DataError, "holds no document"),
    ],
)
def test_too_little_text_is_refused_with_a_remedy(
    tmp_path, text, changes, error, match
):
    (tmp_path / "a.txt").write_bytes(text.encode("latin-1"))
    changes = {"vocab_size": 264} | changes
    with pytest.raises(error, match=match) as caught:
        load_language_dataset(configure(tmp_path / "a.txt", **changes))
    assert "\n" not in str(caught.value)


def test_monotonous_text_trains_when_no_split_is_held_out(tmp_path):
    (tmp_path / "a.txt").write_text("aaaa\n\n" * 9000, encoding="utf-8")
    config = configure(tmp_path / "a.txt", valid_fraction=0.0, test_fraction=0.0)
    corpus = load_language_dataset(dataclasses.replace(config, tokenizer="bytes"))
    assert corpus.counts["tokens"]["train"] > 54_000


def test_the_room_needs_no_jax():
    code = "import sys; from slimjax.data import *; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_held_out_files_are_whole_splits_and_their_documents_leave_train(tmp_path):
    def write(name, numbers):
        lines = [
            json.dumps({"text": f"{number} bottles of beer"}) for number in numbers
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return f"jsonl:{tmp_path}/{name}.jsonl#text"

    settings = dict(tokenizer="bytes", seq_len=8)
    source = write("a", [*range(300), 5])
    own = dict(valid_source=write("b", [5, 7, 1000]), test_source=write("c", [2000]))
    corpus = load_language_dataset(configure("", source=source, **own, **settings))
    assert corpus.counts["documents"] == {"train": 298, "valid": 3, "test": 1}
    assert "3 copies of valid or test documents." in " ".join(corpus.notes)
    stream = corpus.splits["valid"]["tokens"].reshape(-1)
    parts = np.split(stream, np.flatnonzero(stream == 2) + 1)[:-1]
    texts = [corpus.tokenizer.decode(part) for part in parts]
    assert texts == [f"{number} bottles of beer" for number in (5, 7, 1000)]
    half = load_language_dataset(
        configure("", source=source, valid_source=own["valid_source"], **settings)
    )
    assert half.counts["documents"]["valid"] == 3
    assert half.counts["documents"]["test"] > 1
    assert half.fingerprint != corpus.fingerprint
    whole = load_language_dataset(
        configure("", source=source, **own, **settings), all_valid=True
    )
    assert whole.counts["documents"] == {"train": 0, "valid": 301, "test": 0}
