"""Records of SQuAD files: one for each question, with its context and its answers.

References: Rajpurkar et al., "Know What You Don't Know: Unanswerable Questions for
SQuAD", 2018; the form of the files is that of version 2, where a question may have no
answer. Answers become ``{"text": [...], "answer_start": [...]}``.
"""

import json
from collections.abc import Iterator
from typing import Any

from slimjax.text.files import READ_ERRORS, open_bytes, show
from slimjax.text.reading import (
    BadDocument,
    Line,
    decode,
    make_empty,
    make_unreadable,
)
from slimjax.text.records import Format, Record

_HINT = 'A file of SQuAD is {"data": [{"paragraphs": [{"context", "qas"}]}]}.'


def read_squad(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each question of a file, which is held in memory."""
    content = _load(path, style)
    if isinstance(content, BadDocument):
        yield content
        return
    number = 0
    for place, title, paragraph in _walk(content):
        context = paragraph.get("context") if isinstance(paragraph, dict) else None
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            line = Line("", number + 1, path, unit="question")
            yield line.bad("missing_field", f"{place} has no list qas. {_HINT}")
            continue
        for question in questions:
            number += 1
            line = Line("", number, path, unit="question")
            yield _to_record(question, {"title": title, "context": context}, line)
    if number == 0:
        yield Line("", 1, path).bad("missing_field", f"holds no question. {_HINT}")


def _load(path: str, style: Format) -> Any:
    """Returns the JSON of a file, or what is wrong with it."""
    try:
        with open_bytes(path, style.encoding) as file:
            text = decode(file.read(), path, 1, 0)
    except READ_ERRORS as error:
        return make_unreadable(path, error)
    if isinstance(text, BadDocument):
        return text
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return make_empty(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = Line("", error.lineno, path)
        why = f"{error.msg}, column {error.colno}"
        return line.bad("broken_json", f"is not JSON: {show(why)}.")
    except (ValueError, RecursionError) as error:  # Too many digits, or too deep.
        return make_unreadable(path, error)


def _walk(content: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yields place, title and content of each paragraph."""
    articles = content.get("data") if isinstance(content, dict) else content
    for i, article in enumerate(articles if isinstance(articles, list) else []):
        is_article = isinstance(article, dict)
        paragraphs = article.get("paragraphs") if is_article else None
        if not isinstance(paragraphs, list):
            yield f"data[{i}]", None, None
            continue
        for j, paragraph in enumerate(paragraphs):
            yield f"data[{i}].paragraphs[{j}]", article.get("title"), paragraph


def _to_record(question: Any, shared: dict[str, Any], line: Line) -> Any:
    if not isinstance(question, dict):
        return line.bad("wrong_type", f"is {show(question)}, not an object.")
    values = {k: v for k, v in question.items() if k != "plausible_answers"}
    answers = values.get("answers")
    if isinstance(answers, list):
        if not all(isinstance(answer, dict) for answer in answers):
            return line.bad("wrong_type", "field answers is not a list of objects.")
        values["answers"] = {
            key: [answer.get(key) for answer in answers]
            for key in ("text", "answer_start")
        }
    known = {name: value for name, value in shared.items() if value is not None}
    return Record(values | known, line)
