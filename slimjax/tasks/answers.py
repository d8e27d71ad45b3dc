"""How a task answers: from what a model computes of rows to one dict per example.

    predict   on the device   readouts and a batch   -> arrays by row, [B ...]
    answer    on the host     rows of whole examples -> one `Answer` per example
    score     on the host     answers and examples   -> columns by example, for metrics

`predict` needs no targets, so it works on examples without labels. A task that
generates has no `predict`: rows are decoded, and what is kept of each is ``tokens``
``[R L]``, what was written before eos and then padding, and ``logprob`` ``[R]``.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from slimjax.data.dataset import Codec
from slimjax.text.examples import Example

Answer = dict[str, Any]
"""What a task adds to an example: plain data, ready for JSON."""

AnswerFn = Callable[["Results"], list[Answer]]
"""From the rows of some examples to one answer per example, in their order."""

ScoreFn = Callable[[Sequence[Answer], Sequence[Example]], dict[str, np.ndarray]]
"""From answers and examples with targets to columns ``[E]`` that add up."""

TablesFn = Callable[[Sequence[Answer], Sequence[Example], int], dict[str, Any]]
"""From answers, examples with targets, and the seed of intervals, to what is counted of
each class."""


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """What is known of all rows of some examples.

    Attributes:
        examples: The examples, E of them; ``values`` holds what the task reads.
        kept: What the model computed of each row, ``[R ...]``: the arrays of
            `Task.predict`, or ``tokens`` and ``logprob`` of a task that generates.
        rows: The rows themselves, ``[R ...]``: fields of a batch, and what an encoder
            keeps for answers only, such as the character at which a window begins.
        starts: The rows of example i are ``starts[i]`` to ``starts[i + 1]``, ``[E+1]``.
        codecs: What numbers mean, by field: tokenizer, labels, scaling.
    """

    examples: Sequence[Example]
    kept: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    starts: Int[np.ndarray, " E1"]
    codecs: Mapping[str, Codec]

    def rows_of(self, number: int) -> slice:
        """Returns which rows belong to an example, as a slice of all rows."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))


def sum_by_example(
    column: Shaped[np.ndarray, "R ..."], starts: Int[np.ndarray, " E1"]
) -> Shaped[np.ndarray, "E ..."]:
    """Returns the sum over the rows of each example; each has a row or more.

    Examples:
        >>> sum_by_example(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 3]))
        array([3., 4.])
    """
    if len(starts) - 1 == len(column):
        return column
    return np.add.reduceat(column, starts[:-1], axis=0)
