"""Ways to write answers: lines of JSON, plain text, CoNLL, and SQuAD's predictions."""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.predict.part import to_line

JSONL, SQUAD = "jsonl", "squad"
ERROR = "error"
"""Key of what is wrong, in a line that stands in place of an answer."""

TASK_NAMES: Mapping[str, Any] = {}
"""Fields of which each has the task's name."""

_ENDINGS = {".txt": "text", ".conll": "conll", ".bio": "conll", ".json": SQUAD}

Line = Mapping[str, Any]
"""An example with its answer, as a line of JSON holds it."""

Output = BinaryIO | io.BytesIO
"""What bytes are written to."""


def choose_format(name: str, path: str, known: tuple[str, ...]) -> str:
    """Returns the format of a file: the one that is named, or that of its ending.

    Args:
        name: ``--format``, or "".
        path: The file.
        known: Formats of the task.

    Raises:
        ConfigError: If the task has no such format.

    Examples:
        >>> choose_format("", "out.txt", ("jsonl", "text"))
        'text'
    """
    if name:
        if name not in known:
            raise ConfigError(
                f"--format={name} is not one of this task. {suggest(name, known)}"
            )
        return name
    found = _ENDINGS.get(Path(path).suffix, JSONL)
    return found if found in known else JSONL


def convert(
    name: str, source: Path, target: Path, fields: Mapping[str, Any] = TASK_NAMES
) -> None:
    """Writes a file of lines of JSON in another format.

    Raises:
        DataError: If an example has no ``id`` where the format needs one.
    """
    with source.open("rb") as file, target.open("wb") as out:
        write_lines(name, map(json.loads, file), out, fields)


def write_lines(
    name: str,
    lines: Iterable[Line],
    out: Output,
    fields: Mapping[str, Any] = TASK_NAMES,
) -> None:
    """Writes lines in a format.

    Args:
        name: The format.
        lines: Examples with their answers.
        out: Where bytes go.
        fields: From names of the task to names in the lines.

    Raises:
        DataError: If an example has no ``id`` where the format needs one.
    """
    WRITERS[name](lines, out, fields)


def check_lines(name: str, lines: Iterable[Line]) -> None:
    """Refuses the first answers of an input if a format cannot hold them.

    Raises:
        DataError: If one has no ``id`` where the format needs one.
    """
    for number, line in enumerate(lines if name == SQUAD else (), start=1):
        _check_id(line, number)


def _check_id(line: Line, number: int) -> None:
    if "id" not in line and ERROR not in line:
        raise DataError(
            f"--format=squad needs a field id in each example; example {number} has "
            "none. Take --format=jsonl, which goes on with what is answered."
        )


def write_jsonl(lines: Iterable[Line], out: Output, fields: Mapping[str, Any]) -> None:
    """Writes one object of JSON for each example."""
    del fields
    for line in lines:
        out.write(to_line(line) + b"\n")


def write_text(lines: Iterable[Line], out: Output, fields: Mapping[str, Any]) -> None:
    """Writes one line for each example: its prediction; empty where it has none."""
    del fields
    for line in lines:
        out.write(_to_bytes(_to_text(line.get("prediction"))) + b"\n")


def write_conll(lines: Iterable[Line], out: Output, fields: Mapping[str, Any]) -> None:
    """Writes a token and its tag in each line, and a blank line after an example."""
    for line in lines:
        tags = line.get("prediction") or []
        tokens = _tokens_of(line, len(tags), fields)
        for token, tag in zip(tokens, tags, strict=True):
            out.write(_to_bytes(f"{token}\t{tag}\n"))
        out.write(b"\n")


def write_squad(lines: Iterable[Line], out: Output, fields: Mapping[str, Any]) -> None:
    """Writes ``{id: text of the answer}``, which SQuAD's own script reads.

    Examples that could not be read have no place in it.

    Raises:
        DataError: If an example has no ``id``.
    """
    del fields
    out.write(b"{")
    comma = ""
    for number, line in enumerate(lines, start=1):
        _check_id(line, number)
        if "id" not in line:
            continue
        key, value = json.dumps(str(line["id"])), line.get("prediction") or ""
        out.write(_to_bytes(f"{comma}\n{key}: {json.dumps(value, ensure_ascii=False)}"))
        comma = ","
    out.write(b"\n}\n")


WRITERS: dict[str, Callable[[Iterable[Line], Output, Mapping[str, Any]], None]] = {
    JSONL: write_jsonl,
    "text": write_text,
    "conll": write_conll,
    SQUAD: write_squad,
}


def _tokens_of(line: Line, number: int, fields: Mapping[str, Any]) -> Sequence[str]:
    """Returns the tokens that tags stand for: those of the task, or characters.

    Args:
        line: An example with its answer.
        number: How many tags there are.
        fields: From names of the task to names in the line.
    """
    for name in ("tokens", "text"):
        field = fields.get(name, name)
        value = line.get(field, line.get(str(field)))
        if name == "tokens" and isinstance(value, str):
            value = value.split()
        if isinstance(value, str | list) and len(value) == number:
            return value
    return [""] * number


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_to_text, value))
    return " ".join(str(value).split())
