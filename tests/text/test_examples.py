"""Examples: each value by its kind, what is bad in its place, records as they were."""

import json

import numpy as np
import pytest

from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import (
    Example,
    iterate_examples,
    iterate_inputs,
    make_inputs,
)
from slimjax.text.fields import Column, choose_columns, with_field
from slimjax.text.kinds import KINDS, find_kind
from slimjax.text.reading import BadDocument, Line
from slimjax.text.records import DEFAULT_FORMAT, Record
from slimjax.text.skips import Skips
from slimjax.text.sources import parse_source

KINDS_READ = {"text": "text", "text_pair": "text?", "label": "label"}


def columns(fields=None, header=True, kinds=KINDS_READ):
    return choose_columns(kinds, fields or {}, header=header)


def read(kind, value):
    return KINDS[kind].read(Record({"x": value}, Line("", 7, "a.jsonl")), ("x",))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("label", 3, "3"),
        ("label", True, "true"),
        ("label", 1.0, "1"),
        ("label", 0.1, "0.1"),
        ("label", 2.675, "2.675"),
        ("label", -1e20, "-1e+20"),
        ("label", 1e16, "10000000000000000"),
        ("label", " a ", "a"),
        ("labels", ["b", 1, "b"], ("1", "b")),
        ("labels", "b| a", ("a", "b")),
        ("labels", [], ()),
        ("labels", "", ()),
        (
            "messages",
            {"role": ["user", "assistant"], "content": ["Hi.", "Hello!"]},
            (("user", "Hi."), ("assistant", "Hello!")),
        ),
        (
            "entities",
            {"start": [8, 0], "end": [16, 3], "label": ["LOC", "PER"]},
            ((0, 3, "PER"), (8, 16, "LOC")),
        ),
        ("entities", {"start": [], "end": [], "type": []}, ()),
        ("value", "-1.5", -1.5),
        ("value", 2, 2.0),
    ],
)
def test_a_kind_reads_its_values(kind, value, expected):
    assert read(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("value", "fine", "field x is fine, not a finite number."),
        ("value", float("nan"), "field x is nan, not a finite number."),
        ("value", "", "field x is empty, not a finite number."),
        ("value", None, "field x is null, not a finite number."),
        ("value", True, "field x is True, not a finite number."),
        ("labels", 3, "field x is 3, not a list of labels."),
        ("messages", {"role": ["a"], "content": []}, "not a list of messages."),
        ("entities", {"start": 0, "end": 3}, "not a list."),
        ("labels", ["a", ["b"]], "field x[1] is a list, not a label."),
        ("text", "  ", "field x is empty."),
        ("text", "\ud800", "holds half a character"),
    ],
)
def test_a_bad_value_is_named_with_its_line(kind, value, message):
    bad = read(kind, value)
    assert isinstance(bad, BadDocument)
    assert "a.jsonl, line 7 " in bad.message
    assert message in bad.message


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tokens", ["hi", "x\ud83d"]),
        ("sentences", ["One.", "\ud83d"]),
        ("texts", ["right", "\ud83d"]),
        ("messages", [{"role": "user", "content": "\ud83d"}]),
        ("label", "\ud83d"),
        ("labels", ["a", "\ud83d"]),
        ("entities", [[0, 1, "\ud83d"]]),
    ],
)
def test_half_a_character_is_refused_in_every_kind(tmp_path, kind, value):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"x": value}) + "\n")
    column = Column("x", kind, ("x",))
    found = iterate_examples(f"jsonl:{path}", [column], style=DEFAULT_FORMAT)
    with pytest.raises(
        DataError, match=r"line 1 field x holds half a character, '\\ud83d'"
    ):
        list(found)
    skips = Skips()
    options = dict(style=DEFAULT_FORMAT, on_bad_example="skip", skips=skips)
    assert not list(iterate_examples(f"jsonl:{path}", [column], **options))
    assert skips.reasons == {"not_utf8": 1}


def test_a_kind_knows_whether_it_is_a_target():
    assert {"label", "labels", "value"} <= {k for k in KINDS if KINDS[k].is_target}
    assert not any(KINDS[kind].is_target for kind in ("text", "features"))
    assert not find_kind("text?").is_target
    with pytest.raises(ConfigError, match="Did you mean value"):
        find_kind("valu")


def test_inputs_are_read_without_targets_in_order_with_their_records(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        '{"id": 7, "text": "good", "label": null}',
        '{"id": 8, "text": ""}',
        "{",
        '{"id": 9, "text": "bad", "text_pair": "very"}',
    ]
    path.write_text("\n".join(lines))
    found = list(iterate_inputs(f"jsonl:{path}", columns(), style=DEFAULT_FORMAT))
    assert [isinstance(one, Example) for one in found] == [True, False, False, True]
    assert found[0].values == {"text": "good"}
    assert found[0].record == json.loads(lines[0])
    assert found[3].values == {"text": "bad", "text_pair": "very"}
    assert found[3].where == f"{path}, line 4"
    assert [found[1].reason, found[2].reason] == ["empty", "broken_json"]


def test_lines_of_a_text_file_are_examples_of_a_task_that_reads_one_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\nthree, four\n")
    source = f"text:{path}"
    found = list(iterate_inputs(source, columns(), style=DEFAULT_FORMAT))
    texts = [getattr(one, "values", {}).get("text") for one in found]
    assert texts == ["one", None, "three, four"]
    assert found[1].message == f"{path}, line 2 field text is empty."
    two = columns(kinds={"question": "text", "context": "text"})
    with pytest.raises(ConfigError, match="text holds no"):
        list(iterate_inputs(source, two, style=DEFAULT_FORMAT))


def test_python_values_are_examples():
    items = ["good", {"text": "bad", "more": 1}, {"txt": "?"}, 5]
    found = list(make_inputs(items, columns({"label": "stars"})))
    assert [getattr(one, "values", None) for one in found] == [
        {"text": "good"},
        {"text": "bad"},
        None,
        None,
    ]
    assert found[1].record == {"text": "bad", "more": 1}
    assert found[2].message.startswith("input, example 3 has no field text. Did you")
    assert found[3].message == "input, example 4 is 5, not a text or an object."
    kinds = {"features": "features", "label": "label"}
    (one,) = make_inputs([{"features": np.arange(3)}], columns(kinds=kinds))
    np.testing.assert_array_equal(one.values["features"], [0, 1, 2])


def test_a_named_field_is_no_longer_optional():
    plain, named = columns(), columns({"text_pair": "other"})
    assert [column.is_optional for column in plain] == [False, True, False]
    assert not any(column.is_optional for column in named)
    without = columns({"text": 0, "label": 1}, header=False)
    assert [column.name for column in without] == ["text", "label"]


PAIR = {"text": "text", "text_pair": "text", "label": "label"}
OF_NEWS = {"document": "text?", "sentences": "sentences?", "summary": "passage?"}
OF_WORDS = {"tokens": "tokens?", "tags": "tags?", "text": "text?"}


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (KINDS_READ, "text"),
        (PAIR, "text"),
        (OF_NEWS, "document"),
        (OF_WORDS, "text"),
        ({"tokens": "tokens"}, "tokens"),
        ({"source": "text", "target": "texts"}, "source"),
        ({"image": "image", "question": "text", "answer": "label"}, "question"),
    ],
)
def test_the_field_of_a_source_is_that_of_the_main_text(kinds, name):
    found = with_field(columns(kinds=kinds), parse_source("jsonl:a.jsonl#body"))
    (named,) = [column for column in found if column.keys == ("body",)]
    assert (named.name, named.is_optional) == (name, False)


@pytest.mark.parametrize(
    "kinds",
    [
        {"question": "text", "context": "text", "answers": "answers"},
        {"messages": "messages"},
        {"features": "features", "label": "label"},
    ],
)
def test_a_field_that_can_name_no_text_is_refused(kinds):
    source = parse_source("jsonl:a.jsonl#body")
    expected = f"#body names a text; this task reads {', '.join(kinds)}. Leave it out"
    with pytest.raises(ConfigError, match=expected):
        with_field(columns(kinds=kinds), source)
