"""Tables: which first lines are headers, and cells that hold lists."""

import csv

import pytest

from slimjax.text.kinds import find_kind
from slimjax.text.reading import NO_HEADER, BadDocument, Line
from slimjax.text.records import DEFAULT_FORMAT, Format, Record
from slimjax.text.tables import NUM_COMPARED, find_no_header, read_table


def read(path, text, **options):
    path.write_text(text, encoding="utf-8")
    return list(read_table(str(path), Format(**options)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("good film,pos\nbad,neg\nfine,pos\n", "line 3 has pos in the column that the"),
        ("0.5,1\n0.25,2\n", "line 2 has a column that the first line calls 0.5."),
        ("-1,a\n3,b\n", "line 2 has a column that the first line calls -1."),
        ("0,0,1\n1,2,3\n", "line 1 names the column 0 twice."),
    ],
)
def test_a_first_line_that_is_an_example_is_refused(tmp_path, text, problem):
    path = tmp_path / "a.csv"
    (bad,) = read(path, text)
    assert isinstance(bad, BadDocument)
    assert bad.message.startswith(f"{path}, {problem}")
    assert (
        "If the first line is an example, set config.data.header=False" in bad.message
    )
    assert all(not isinstance(r, BadDocument) for r in read(path, text, header=False))
    assert find_no_header(str(path), Format()) == bad
    assert find_no_header(str(path), Format(header=False), ["text"]) is None


@pytest.mark.parametrize("names", ["text,label", "0,1", "1x1,1x2", ",text"])
def test_a_header_is_a_header(tmp_path, names):
    rows = [f"{i} words,{i % 2}" for i in range(2 * NUM_COMPARED)]
    found = read(tmp_path / "a.csv", "\n".join([names, *rows]))
    assert [list(record.values.values()) for record in found] == [
        row.split(",") for row in rows
    ]
    assert list(found[0].values) == names.split(",")


@pytest.mark.parametrize(
    "text",
    [
        "text,spam\nhello,ham\nwin,spam\n",
        "message,spam\nhello there,ham\nwin a car,spam\n",
        "review,stars\na fine film,4\nreview,3\nso long,1\n",
    ],
)
def test_a_value_that_equals_its_name_is_a_value_below_a_clear_header(tmp_path, text):
    names, *rows = text.splitlines()
    found = read(tmp_path / "a.csv", text)
    assert [",".join(record.values.values()) for record in found] == rows
    assert find_no_header(str(tmp_path / "a.csv"), Format(), names.split(",")) is None


@pytest.mark.parametrize("first", ["a good film,pos", "3,pos", "good,pos"])
def test_a_value_that_equals_its_name_shows_that_there_is_no_header(tmp_path, first):
    (bad,) = read(tmp_path / "a.csv", f"{first}\nbad,neg\nfine,pos\n")
    assert bad.reason == NO_HEADER


def test_a_header_names_the_columns_that_are_needed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,review\n1,good\n")
    assert find_no_header(str(path), Format(), ["review", "id"]) is None
    assert find_no_header(str(path), Format(), [1]) is None
    bad = find_no_header(str(path), Format(), ["reviews"])
    assert bad.reason == NO_HEADER
    assert "has no field reviews. Did you mean review? If the first" in bad.message
    path.write_text("id,review\n")
    assert find_no_header(str(path), Format(), ["text"]) is None


LISTS = [
    ("tokens", '["EU", "rejects"]', ("EU", "rejects")),
    ("tokens", "[EU] rejects", ("[EU]", "rejects")),
    ("tags", '["B-ORG", "O"]', ("B-ORG", "O")),
    ("sentences", '["Rain fell.", "It was cold."]', ("Rain fell.", "It was cold.")),
    ("texts", '["a cat", "a sleeping cat"]', ("a cat", "a sleeping cat")),
    ("texts", "[1]", ("[1]",)),
    ("messages", '[{"role": "user", "content": "Hi."}]', (("user", "Hi."),)),
    ("text", '["a"]', '["a"]'),
]


@pytest.mark.parametrize(("kind", "cell", "expected"), LISTS)
def test_a_cell_may_hold_a_list_as_json(tmp_path, kind, cell, expected):
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["number", "x"], ["1", cell]])
    (record,) = read_table(str(path), DEFAULT_FORMAT)
    assert find_kind(kind).read(record, ("x",)) == expected
    assert find_kind(kind).read(record, (1,)) == expected


def test_a_text_of_json_lines_is_no_list():
    record = Record({"x": '["a", "b"]'}, Line("", 1, "a.jsonl"))
    assert find_kind("texts").read(record, ("x",)) == ('["a", "b"]',)


def test_line_ends_inside_of_quotes_are_kept_as_they_are(tmp_path):
    text = "Ada saw\r\nRome.\nBob\rran.\r\r\nNo"
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "number"], [text, "1"], ["so", "2"]])
    found = list(read_table(str(path), DEFAULT_FORMAT))
    assert [list(record.values.values()) for record in found] == [
        [text, "1"],
        ["so", "2"],
    ]
    start = text.index("Rome")
    assert found[0].values["text"][start : start + 4] == "Rome"
