"""SQuAD files: a record for each question, with the answers that it may lack."""

import gzip
import json

import pytest

from slimjax.text.coco import read_coco
from slimjax.text.reading import BadDocument
from slimjax.text.records import DEFAULT_FORMAT
from slimjax.text.squad import read_squad


def write(path, *questions, context="It is blue.", title="Sky"):
    paragraph = {"context": context, "qas": list(questions)}
    article = {"title": title, "paragraphs": [paragraph]}
    path.write_text("\ufeff" + json.dumps({"version": "v2.0", "data": [article]}))
    return str(path)


def test_a_question_has_its_context_and_all_its_answers(tmp_path):
    answers = [
        {"text": "blue", "answer_start": 6},
        {"text": "is blue", "answer_start": 3},
    ]
    first = {"id": "7", "question": "Which?", "answers": answers}
    second = {
        "id": "8",
        "question": "Why?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": answers,
    }
    path = write(tmp_path / "a.json", first, second)
    found = list(read_squad(path, DEFAULT_FORMAT))
    shared = {"title": "Sky", "context": "It is blue."}
    assert [record.values for record in found] == [
        {
            "id": "7",
            "question": "Which?",
            "answers": {"text": ["blue", "is blue"], "answer_start": [6, 3]},
            **shared,
        },
        {
            "id": "8",
            "question": "Why?",
            "answers": {"text": [], "answer_start": []},
            "is_impossible": True,
            **shared,
        },
    ]
    assert found[1].line.where == f"{path}, question 2"


def test_a_question_without_answers_is_a_record_that_lacks_them(tmp_path):
    path = write(tmp_path / "a.json", {"question": "Which?"})
    (record,) = read_squad(path, DEFAULT_FORMAT)
    bad = record.get("answers")
    assert isinstance(bad, BadDocument)
    assert "a.json, question 1 has no field answers." in bad.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty."),
        ('{"data":\n [}', "line 2 is not JSON"),
        ('{"rows": []}', "line 1 holds no question. A file of SQuAD is"),
        ('{"data": [{"text": "a"}]}', "question 1 data[0] has no list qas."),
        ('{"data": [{"paragraphs": [3]}]}', "question 1 data[0].paragraphs[0] has no"),
        ('{"data": [{"paragraphs": [{"qas": [4]}]}]}', "question 1 is 4, not an"),
    ],
)
def test_what_is_no_squad_file_is_bad_in_one_line(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    bad = next(iter(read_squad(str(path), DEFAULT_FORMAT)))
    assert isinstance(bad, BadDocument)
    assert message in bad.message
    assert "\n" not in bad.message


@pytest.mark.parametrize("read", [read_squad, read_coco])
@pytest.mark.parametrize("content", ["9" * 5_000, "[" * 100_000])
def test_json_that_python_refuses_is_bad_in_its_place(tmp_path, read, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    (bad,) = read(str(path), DEFAULT_FORMAT)
    assert isinstance(bad, BadDocument)
    assert bad.message.startswith(f"{path} cannot be read: ")
    assert "\n" not in bad.message


def test_a_packed_file_is_read_as_a_plain_one(tmp_path):
    path = write(tmp_path / "a.json", {"id": "7", "question": "Which?", "answers": []})
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.json").read_bytes()))
    found = [list(read_squad(str(one), DEFAULT_FORMAT)) for one in (path, packed)]
    values = [[record.values for record in records] for records in found]
    assert values[0] == values[1]
    assert values[0][0]["question"] == "Which?"
