"""What a model answered on a split, as `slimjax evaluate` wrote it in a run folder."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from slimjax.metrics.bootstrap import Columns, Estimates, estimate
from slimjax.metrics.extra import is_known
from slimjax.metrics.metric import Metric
from slimjax.report.answer_images import Images, read_images
from slimjax.report.answer_kinds import Kind, find_kind
from slimjax.report.answer_lines import Json, Line
from slimjax.report.quantities import number
from slimjax.report.read import Run, read_lines

SPLITS = ("test", "valid")
"""Of which files are looked for, in this order."""

MAX_LINES = 50_000
"""Lines of a file that are read; more would not fit on a page."""

TARGETS = ("label", "value", "tags", "entities", "answers", "target")
TARGETS += ("summary", "answer")
"""Names under which tasks know what is right."""

INPUTS = ("text", "text_pair", "tokens", "question", "context", "document", "sentences")
INPUTS += ("source", "messages")
"""Names under which tasks know what is read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a run.

    Attributes:
        split: Whose examples they are.
        kind: Their kind.
        lines: The examples in order.
        num_left_out: Lines without an answer, or with nothing to compare it to.
        seed: Seed of the bootstrap.
        names: Fields of the file, by the names of the task.
        images: Those of some of the examples.
        is_cut: Whether the file has more lines than are read.
    """

    split: str
    kind: Kind
    lines: list[Line]
    num_left_out: int
    seed: int
    names: Json
    images: Images = dataclasses.field(default_factory=Images)
    is_cut: bool = False

    @functools.cached_property
    def columns(self) -> Columns:
        """Columns of metrics, one entry per line."""
        return self.kind.columns(self.lines)

    @functools.cached_property
    def estimates(self) -> dict[str, Estimates]:
        """All metrics with their intervals, by key."""
        metrics = {metric.key: metric.of for metric in self.metrics}
        return estimate(metrics, self.columns, seed=self.seed)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the kind whose library is installed, the headline first."""
        return tuple(metric for metric in self.kind.metrics if is_known(metric.key))

    @functools.cached_property
    def costs(self) -> Float[np.ndarray, " N"]:
        """How wrong each answer is; 0 where it is right."""
        return self.kind.cost(self.columns)

    def input_of(self, line: Line, name: str) -> Any:
        """Returns what a task reads from a line by this name, or None."""
        return line.fields.get(str(self.names.get(name, name)))

    def text_of(self, line: Line) -> str:
        """Returns what was read, in one line."""
        parts = [_join(self.input_of(line, name)) for name in INPUTS]
        return " | ".join(part for part in parts if part)


def read_answers(run: Run) -> Answers | None:
    """Returns the answers that a run folder holds, or None without a known kind.

    Raises:
        CheckpointError: If the file is damaged.
    """
    for split in SPLITS:
        path = run.folder / f"predictions-{split}.jsonl"
        rows = read_lines(path, MAX_LINES + 1) if path.is_file() else []
        if rows:
            found = _make(run, split, rows[:MAX_LINES])
            if found is None:
                return None
            images = read_images(run.folder / f"images-{split}.npz")
            more = dict(images=images, is_cut=len(rows) > MAX_LINES)
            return dataclasses.replace(found, **more)
    return None


def _make(run: Run, split: str, rows: list[dict[str, Any]]) -> Answers | None:
    data = run.config.get("data")
    fields = data.get("fields") if isinstance(data, dict) else None
    names = fields if isinstance(fields, dict) else {}
    lines = [_make_line(row, names, number) for number, row in enumerate(rows)]
    lines = [line for line in lines if is_answered(line)]
    kind = find_kind(lines)
    if kind is None:
        return None
    seed = round(number(run.report, "seed") or 0)
    return Answers(split, kind, lines, len(rows) - len(lines), seed, names)


def is_answered(line: Line) -> bool:
    """Whether a line has an answer, and something to compare it to."""
    return "rank" in line.fields or bool("prediction" in line.fields and line.expected)


def _make_line(row: dict[str, Any], names: Json, place: int) -> Line:
    expected = row.get("expected")
    if not isinstance(expected, Mapping):
        fields = {name: str(names.get(name, name)) for name in TARGETS}
        expected = {name: row[key] for name, key in fields.items() if key in row}
        if expected.get("entities") is not None and "tags" in expected:
            del expected["entities"]  # The answer's own.
    if not expected:
        row, expected = _split_chat(row, str(names.get("messages", "messages")))
    if "answer" in expected:  # What a class is called where a question is asked.
        expected = {**expected, "label": expected["answer"]}
    return Line(row, expected, number(row, "loss"), place)


def _split_chat(row: dict[str, Any], key: str) -> tuple[dict[str, Any], Json]:
    """Returns a chat without its last message, and that as the right text."""
    found = row.get(key)
    messages = found if isinstance(found, list) else []
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or not isinstance(last.get("content"), str):
        return row, {}
    return row | {key: messages[:-1]}, {"target": last["content"]}


def _join(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_join, value))
    if isinstance(value, dict):
        return _join(value.get("content"))
    return " ".join(value.split()) if isinstance(value, str) else ""
