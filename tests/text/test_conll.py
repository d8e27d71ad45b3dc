"""CoNLL files: sentences with as many tags as tokens, or a line that says why not."""

import gzip

import pytest

from slimjax.text.conll import read_conll
from slimjax.text.reading import BadDocument
from slimjax.text.records import DEFAULT_FORMAT


def read(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return list(read_conll(str(path), DEFAULT_FORMAT))


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_sentences_end_at_blank_lines_and_at_lines_of_one_tab(tmp_path, name):
    text = "\ufeffNew York\tB-LOC\nis\tO\n\t\nbig\tO\n\n\n \tO\r\n"
    found = read(tmp_path / name, text)
    assert [record.values for record in found] == [
        {"tokens": ["New York", "is"], "tags": ["B-LOC", "O"]},
        {"tokens": ["big"], "tags": ["O"]},
        {"tokens": [" "], "tags": ["O"]},
    ]
    assert [record.line.number for record in found] == [1, 4, 7]


def test_columns_are_divided_by_spaces_and_those_between_have_numbers(tmp_path):
    text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    (record,) = read(tmp_path / "a.txt", text)
    assert record.values == {
        "tokens": ["EU", "rejects"],
        "1": ["NNP", "VBZ"],
        "2": ["B-NP", "B-VP"],
        "tags": ["B-ORG", "O"],
    }
    assert record.get(1) == ["NNP", "VBZ"]
    assert record.get(3) == ["B-ORG", "O"]


def test_tokens_alone_have_no_tags(tmp_path):
    found = read(tmp_path / "a.txt", "one\ntwo\n\nthree\n")
    assert [record.values for record in found] == [
        {"tokens": ["one", "two"]},
        {"tokens": ["three"]},
    ]
    bad = found[0].get("tags")
    assert isinstance(bad, BadDocument)
    assert bad.message.endswith("line 1 has no field tags. Known: tokens.")


def test_a_bad_line_makes_its_sentence_bad_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\tO\nb\n\nc\tO\n\n\xff\tO\nd\tO\n\ne\tO")
    first, second, third, fourth = read_conll(str(path), DEFAULT_FORMAT)
    assert first.message == f"{path}, line 2 has 1 columns, line 1 2."
    assert second.values["tokens"] == ["c"]
    assert "line 6, byte offset 12: 0xff is not UTF-8" in third.message
    assert fourth.values["tokens"] == ["e"]


@pytest.mark.parametrize("text", ["", "\n\n\t\n"])
def test_an_empty_file_is_bad(tmp_path, text):
    (bad,) = read(tmp_path / "a.txt", text)
    assert bad.message == f"{tmp_path}/a.txt, line 1: the file is empty."
