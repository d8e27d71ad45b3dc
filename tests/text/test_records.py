"""Records of JSON lines and tables: values by name, or a line that says what is bad."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.text.reading import BadDocument
from slimjax.text.records import Format, Record, read_json_lines
from slimjax.text.tables import read_table

CELLS = st.text(alphabet='ab,;"\t\r\n 汉', max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6)


def read(path, content, *, header=True, **options):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    is_table = ".json" not in path.name
    reader = read_table if is_table else read_json_lines
    return list(reader(str(path), Format(header=header, **options)))


@given(ROWS, st.sampled_from(["a.csv", "a.tsv", "a.tab.gz"]))
def test_a_table_that_csv_writes_comes_back(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("tables") / name
    text = io.StringIO(newline="")
    delimiter = "," if name == "a.csv" else "\t"
    csv.writer(text, delimiter=delimiter).writerows([["one", "two"], *rows])
    found = read(path, "\ufeff" + text.getvalue())
    expected = [[cell.replace("\r\n", "\n") for cell in row] for row in rows]
    assert [list(record.values.values()) for record in found] == expected
    assert all(list(record.values) == ["one", "two"] for record in found)


def test_a_table_without_a_header_has_numbers_for_names(tmp_path):
    found = read(tmp_path / "a.csv", "5,x\n\n6,y\n", header=False)
    assert [record.values for record in found] == [{0: "5", 1: "x"}, {0: "6", 1: "y"}]
    assert [record.line.number for record in found] == [1, 3]
    bad = found[0].get(2)
    assert isinstance(bad, BadDocument)
    assert bad.message.endswith("line 1 has no column 2. It has columns 0 to 1.")


def test_lines_end_at_newlines_only(tmp_path):
    text = "a\x0bb\x0cc\u2028d\u0085e\rf"
    (record,) = read(tmp_path / "a.tsv", f"x\ty\r\n1\t{text}\r\n")
    assert record.values == {"x": "1", "y": text}
    lines = '{"y": "a\u2028b\u0085c"}\r\n\r\n{"y": "z"}'
    found = read(tmp_path / "a.jsonl", lines)
    assert [record.values["y"] for record in found] == ["a\u2028b\u0085c", "z"]
    assert found[1].line.number == 3


def test_signs_may_have_no_meaning_and_another_delimiter_may_have_one(tmp_path):
    (record,) = read(tmp_path / "a.tsv", 'x\ty\n"a\tb"\n', quote="")
    assert record.values == {"x": '"a', "y": 'b"'}
    (record,) = read(tmp_path / "a.csv", "x;y\n1,5;2\n", delimiter=";")
    assert record.values == {"x": "1,5", "y": "2"}


@pytest.mark.parametrize(
    ("name", "content", "reason", "part"),
    [
        ("a.csv", "", "empty", "line 1"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "wrong_columns", "line 3 has 3 columns"),
        ("a.csv", "x,y\n1\n", "wrong_columns", "the header 2"),
        ("a.csv", "x,x\n1,2\n", "no_header", "column x twice"),
        ("a.csv", 'x,y\n1,2\n"a,b\nc,d\n', "broken_csv", "line 3 is not a row"),
        ("a.csv", 'x,y\n"a"b,c\n', "broken_csv", 'Write "" for a quote'),
        ("a.csv", b"x,y\n\xff,1\n", "not_utf8", "line 2, byte offset 4"),
        ("a.jsonl", "", "empty", "line 1"),
        ("a.jsonl", " \n\n", "empty", "line 1"),
        ("a.jsonl", '[\n{"x": 1},\n{"x": 2}\n]', "broken_json", "no [ ] and no commas"),
        ("a.jsonl", '[{"x": 1}]', "missing_field", "no [ ] and no commas"),
        ("a.jsonl", '{"x": 1},\n', "broken_json", "ends in a comma"),
        ("a.jsonl", '{\n"x": 1\n}\n', "broken_json", "one object per line"),
        ("a.jsonl", '{"x": 1', "broken_json", "line 1 is not JSON"),
        ("a.jsonl", "3", "missing_field", "not an object"),
        ("a.jsonl", '"x"', "missing_field", "is a string, not an object"),
    ],
)
def test_what_is_bad_is_one_line_with_its_place(tmp_path, name, content, reason, part):
    found = read(tmp_path / name, content)
    bad = next(record for record in found if isinstance(record, BadDocument))
    assert bad.reason == reason
    assert str(tmp_path / name) in bad.message
    assert part in bad.message
    assert "\n" not in bad.message


def test_good_records_are_read_behind_bad_ones(tmp_path):
    found = read(tmp_path / "a.jsonl", '{"x": 1}\nbad\n{"x": 2}\n')
    assert [type(record) for record in found] == [Record, BadDocument, Record]
    found = read(tmp_path / "a.csv", 'x,y\n1,2\n"a"b,2\n3,4\n')
    assert [type(record) for record in found] == [Record, BadDocument, Record]


def test_a_missing_field_offers_the_nearest(tmp_path):
    (record,) = read(tmp_path / "a.csv", "text,label\n1,2\n")
    assert "has no field txt. Did you mean text?" in record.get("txt").message
    assert "Known: text, label." in record.get("stars").message
