"""Metrics: numbers that say how good predictions are, with their intervals.

Nothing here knows models or tasks, and nothing loads jax. Files, from the ground up:

- `bootstrap`: intervals of any function of columns, by resampling rows.
- `paired`: two models on the same examples, by paired bootstrap and McNemar's test.
- `classes`: accuracy, precision, recall, F1, Matthews, confusion.
- `scores`: ROC, average precision and calibration of probabilities.
- `values`: correlations and errors of numbers.
- `entities`: F1 of entities, strict and partial.
- `spans`: exact match and F1 of answers.
- `by_class`: scores of each class as plain data.
- `ranking`: reciprocal ranks and hits.
- `extra`: libraries of the extra ``tasks``.
- `texts`: BLEU, chrF and ROUGE.
- `metric`: what a `Metric` is.
- `reported`: the metrics of each kind of answer, such as `reported.CLASSES`.

Each metric of a sample is a function of *columns*, arrays with one entry per row. What
adds up (counts of n-grams, of entities) is counted once per row; the metric is computed
from its `total`, so that a thousand resamples are one product of matrices.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.metrics.bootstrap import Columns as Columns
    from slimjax.metrics.bootstrap import Estimate as Estimate
    from slimjax.metrics.bootstrap import Resamples as Resamples
    from slimjax.metrics.bootstrap import bootstrap as bootstrap
    from slimjax.metrics.bootstrap import estimate as estimate
    from slimjax.metrics.bootstrap import total as total
    from slimjax.metrics.bootstrap import weighted as weighted
    from slimjax.metrics.metric import Metric as Metric
    from slimjax.metrics.paired import compare_metric as compare_metric
    from slimjax.metrics.paired import mcnemar as mcnemar

_FILES = {
    "bootstrap": (
        *("Columns", "Estimate", "Resamples"),
        *("bootstrap", "estimate", "total", "weighted"),
    ),
    "metric": ("Metric",),
    "paired": ("compare_metric", "mcnemar"),
}

__getattr__ = exports(
    __name__, {name: file for file, names in _FILES.items() for name in names}
)
