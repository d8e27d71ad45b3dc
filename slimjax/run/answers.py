"""What a model answers on a split, example by example, and the files of it."""

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from slimjax.data.dataset import Dataset
from slimjax.predict.part import to_line
from slimjax.predict.predictor import make_line
from slimjax.processes import is_first
from slimjax.store.files import write_atomic
from slimjax.tasks.answers import Answer, Results
from slimjax.tasks.base import Columns, Task
from slimjax.text.examples import Example

LOSS, EXPECTED = "loss", "expected"
"""Keys that a prediction file of an evaluation has beside those of the task."""


class Answered(NamedTuple):
    """Answers to some examples.

    Attributes:
        examples: The examples, with targets.
        answers: One for each.
        loss: Nats per target of each, ``[E]``; NaN without targets.
    """

    examples: Sequence[Example]
    answers: Sequence[Answer]
    loss: np.ndarray


@functools.lru_cache(maxsize=2)
def held_out(data: Dataset) -> Mapping[str, Sequence[Example]]:
    """Returns the held-out examples of a dataset by split; none without labels."""
    if data.read_examples is None:
        return {}
    found = data.read_examples()
    return {split: found[split] for split in found if split != "train"}


def owners_of(data: Dataset, split: str) -> Int[np.ndarray, " R"] | None:
    """Returns the example of each row; None where each example has one row."""
    owners = data.row_counts[split].get("example")
    if owners is None or not len(owners) or owners[-1] == len(owners) - 1:
        return None
    return np.asarray(owners)


def answer_rows(
    task: Task,
    data: Dataset,
    split: str,
    numbers: Int[np.ndarray, " R"],
    kept: Columns,
) -> tuple[list[Example], list[Answer]]:
    """Returns the examples of some rows, and the answers to them.

    Args:
        task: Answers.
        data: Where the rows are from.
        split: Its name.
        numbers: The rows, ascending: all rows of some examples.
        kept: What the model computed of them.
    """
    assert task.answer is not None
    owners = owners_of(data, split)
    owners = numbers if owners is None else owners[numbers]
    chosen, starts = np.unique(owners, return_index=True)
    every = held_out(data)[split]
    examples = [every[i] for i in chosen]
    rows = {name: array[numbers] for name, array in data.splits[split].items()}
    bounds = np.append(starts, len(numbers))
    return examples, task.answer(Results(examples, kept, rows, bounds, data.codecs))


def write_predictions(path: Path, answered: Answered, inputs: Collection[str]) -> None:
    """Writes one line for each example: own fields, answer, loss, right answer.

    Args:
        path: The file.
        answered: What it holds.
        inputs: Names of the values that are no target.
    """
    if not is_first():
        return
    lines = []
    for example, answer, loss in zip(*answered, strict=True):
        values = example.values.items()
        right = {name: value for name, value in values if name not in inputs}
        more = {LOSS: float(loss), EXPECTED: right}
        lines.append(to_line(make_line(example, answer, **more)) + b"\n")
    write_atomic(path, b"".join(lines))
