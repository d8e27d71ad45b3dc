"""Ways to write answers: lines of JSON, plain text, CoNLL, and SQuAD's predictions."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.predict.part import to_line

JSONL = "jsonl"
_ENDINGS = {".txt": "text", ".conll": "conll", ".bio": "conll", ".json": "squad"}

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


def convert(name: str, source: Path, target: Path) -> None:
    """Writes a file of lines of JSON in another format.

    Raises:
        DataError: If an example has no ``id`` where the format needs one.
    """
    with source.open("rb") as file, target.open("wb") as out:
        write_lines(name, map(json.loads, file), out)


def write_lines(name: str, lines: Iterable[Line], out: Output) -> None:
    """Writes lines in a format."""
    WRITERS[name](lines, out)


def write_jsonl(lines: Iterable[Line], out: Output) -> None:
    """Writes one object of JSON for each example."""
    for line in lines:
        out.write(to_line(line) + b"\n")


def write_text(lines: Iterable[Line], out: Output) -> None:
    """Writes one line for each example: its prediction; empty where it has none."""
    for line in lines:
        out.write(_to_text(line.get("prediction")).encode() + b"\n")


def write_conll(lines: Iterable[Line], out: Output) -> None:
    """Writes a token and its tag in each line, and a blank line after an example."""
    for line in lines:
        tags = line.get("prediction") or []
        tokens = _tokens_of(line, len(tags))
        for token, tag in zip(tokens, tags, strict=True):
            out.write(f"{token}\t{tag}\n".encode())
        out.write(b"\n")


def write_squad(lines: Iterable[Line], out: Output) -> None:
    """Writes ``{id: text of the answer}``, which SQuAD's own script reads.

    Raises:
        DataError: If an example has no ``id``.
    """
    out.write(b"{")
    for number, line in enumerate(lines, start=1):
        if "id" not in line:
            raise DataError(
                f"--format=squad needs a field id in each example; example {number} "
                "has none. Take --format=jsonl."
            )
        key, value = json.dumps(str(line["id"])), line.get("prediction") or ""
        comma = "," if number > 1 else ""
        out.write(f"{comma}\n{key}: {json.dumps(value, ensure_ascii=False)}".encode())
    out.write(b"\n}\n")


WRITERS: dict[str, Callable[[Iterable[Line], Output], None]] = {
    JSONL: write_jsonl,
    "text": write_text,
    "conll": write_conll,
    "squad": write_squad,
}


def _tokens_of(line: Line, number: int) -> Iterator[str]:
    """Returns the tokens that tags stand for: a list in the example, or characters."""
    for value in line.values():
        is_list = isinstance(value, list) and value is not line.get("prediction")
        if is_list and len(value) == number and all(type(v) is str for v in value):
            return iter(value)
    for value in line.values():
        if isinstance(value, str) and len(value) == number:
            return iter(value)
    return iter([""] * number)


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(_to_text, value))
    return " ".join(str(value).split())
