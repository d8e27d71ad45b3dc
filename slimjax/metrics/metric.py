"""What a metric is: a key, words, a direction, and a function of columns."""

import dataclasses
from collections.abc import Callable

import numpy as np

from slimjax.metrics.bootstrap import Columns


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number by which models of a task are compared.

    Attributes:
        key: Its name in files, such as ``bits_per_byte``.
        words: Its name for people, such as ``bits per byte``.
        better: Which is better: ``low`` or ``high``.
        of: From what evaluation keeps of rows, ``[R ...]``, to a number; from
            `slimjax.metrics.bootstrap.Resamples` of them to numbers ``[B]``.
        from_loss: Whether the loss and the counts of the data are enough to know it, so
            that it is logged of training too.
        from_answers: Whether it reads columns that are counted from answers, such as
            shared n-grams. It is left out where no answers were made.
        is_rate: Whether it is the part of answers that are right, between 0 and 1, such
            as accuracy, F1 or exact match.
    """

    key: str
    words: str
    better: str
    of: Callable[[Columns], np.ndarray]
    from_loss: bool = False
    from_answers: bool = False
    is_rate: bool = False
