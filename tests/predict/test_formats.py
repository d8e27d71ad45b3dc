"""Formats of answers: what each writes, also where an example could not be read."""

import io

import pytest

from slimjax.errors import DataError
from slimjax.predict.formats import check_lines, choose_format, write_lines
from slimjax.tasks import ranking

BAD = {"error": "a.jsonl, line 2 is not JSON."}


def written(name, lines, **options):
    out = io.BytesIO()
    write_lines(name, lines, out, **options)
    return out.getvalue().decode()


def test_the_ending_chooses_a_format_that_the_task_has():
    assert choose_format("", "a.json", ("jsonl", "squad")) == "squad"
    assert choose_format("", "a.json", ("jsonl",)) == "jsonl"


def test_a_token_and_its_tag_stand_in_a_line():
    lines = [
        {"tokens": ["Ada", "ran"], "prediction": ["B-P", "O"]},
        BAD,
        {"text": "漂亮", "prediction": ["O", "B-X"]},
        {"tokens": "Ada ran", "prediction": ["B-P", "O"]},
    ]
    expected = "Ada\tB-P\nran\tO\n\n\n漂\tO\n亮\tB-X\n\nAda\tB-P\nran\tO\n\n"
    assert written("conll", lines) == expected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ({"tags": ["O", "O"], "pos": ["N", "V"], "tokens": ["Ada", "ran"]}, {}),
        ({"pos": ["N", "V"], "words": ["Ada", "ran"]}, {"tokens": "words"}),
        ({"0": ["N", "V"], "1": ["Ada", "ran"]}, {"tokens": 1}),
    ],
)
def test_tokens_are_those_of_the_task(line, fields):
    line |= {"prediction": ["B-P", "O"]}
    assert written("conll", [line], fields=fields) == "Ada\tB-P\nran\tO\n\n"


def test_answers_to_questions_stand_by_their_ids():
    lines = [{"id": 5, "prediction": "é"}, BAD, {"id": "6", "prediction": ""}]
    assert written("squad", lines) == '{\n"5": "é",\n"6": ""\n}\n'
    assert written("squad", [BAD]) == "{\n}\n"
    check_lines("squad", lines)
    check_lines("jsonl", [{}])
    with pytest.raises(DataError, match="example 2 has none"):
        check_lines("squad", [BAD, {"prediction": "no id"}])


def test_a_ranking_is_no_plain_text():
    task = ranking.make_task({"pad": 0, "bos": 1, "eos": 2})
    assert task.formats == ("jsonl",)
