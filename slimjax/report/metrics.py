"""The metrics of a run, and what several runs can be compared by.

``report.json`` lists the metrics of its task, the headline first: by it runs are
ranked. Run folders from before that list were all of language models, and report bits
per byte. A run that is still running has the names that its log holds.
"""

from collections.abc import Sequence
from typing import NamedTuple

from slimjax.report.quantities import format_decimal, number
from slimjax.report.read import Json, Run

BITS_PER_BYTE = "bits_per_byte"
LOSSES = ("nats_per_target", "nats_per_token")
"""Keys of the loss, the older one last; it is shown beside the metrics of the task."""

LOWER_IS_BETTER = ("bits", "nats", "loss", "error", "perplexity")
"""Parts of names by which the metrics of a running run are known to fall."""

SPLITS = {"test": "test data", "valid": "validation data"}


class Metric(NamedTuple):
    """A metric of a run and its values; None where a value is not known.

    Attributes:
        key: Its name in logs, such as ``bits_per_byte``.
        words: Its name for readers, such as ``bits per byte``.
        better: ``low`` or ``high``.
        valid: On the validation split.
        test: On the test split, which nothing was chosen by.
        test_low: Lower end of the interval of `test`.
        test_high: Upper end.
    """

    key: str
    words: str
    better: str
    valid: float | None = None
    test: float | None = None
    test_low: float | None = None
    test_high: float | None = None


class Comparison(NamedTuple):
    """What some runs are compared by.

    Attributes:
        metric: The headline of the first run, without values.
        split: ``test`` if all runs have a value there, else ``valid``.
        values: One for each run, None where it is not known.
        obstacle: Why the values must not be compared, or nothing.
    """

    metric: Metric
    split: str
    values: list[float | None]
    obstacle: str


def list_metrics(run: Run) -> list[Metric]:
    """Returns the metrics of a run, the headline first; never an empty list."""
    return read_metrics(run.report) or [
        _from_errors(run.report, key) for key in _find_keys(run)
    ]


def read_metrics(block: Json) -> list[Metric]:
    """Returns the metrics that a report or a sweep lists, without damaged entries."""
    known = block.get("metrics")
    known = [_read(entry) for entry in known] if isinstance(known, list) else []
    return [metric for metric in known if metric is not None]


def headline(run: Run) -> Metric:
    """Returns the metric by which the run is ranked."""
    return list_metrics(run)[0]


def compare(runs: Sequence[Run]) -> Comparison:
    """Returns the headline values of runs on one split, and why not to compare them.

    It is the test split, which nothing was chosen by, if all runs have a value there.
    """
    metrics = [headline(run) for run in runs]
    plain = Metric(*metrics[0][:3])
    test, valid = ([getattr(m, split) for m in metrics] for split in ("test", "valid"))
    split, values = ("valid", valid) if None in test else ("test", test)
    return Comparison(plain, split, values, _find_obstacle(runs, metrics))


def find_best(values: Sequence[float | None], better: str) -> int | None:
    """Returns the place of the best of the known values.

    Examples:
        >>> find_best([None, 0.7, 0.9], "high"), find_best([None], "low")
        (2, None)
    """
    known = [(value, i) for i, value in enumerate(values) if value is not None]
    if not known:
        return None
    sign = -1 if better == "high" else 1
    return min(known, key=lambda pair: sign * pair[0])[1]


def format_metric(value: float | None, metric: Metric) -> str:
    """Writes a value with its name: a unit behind it, any other name before it.

    Examples:
        >>> format_metric(1.432, Metric("bits_per_byte", "bits per byte", "low"))
        '1.43 bits per byte'
        >>> format_metric(0.775, Metric("accuracy", "accuracy", "high"))
        'accuracy 0.775'
    """
    if " per " in metric.words:
        return f"{format_decimal(value, digits=2)} {metric.words}"
    return f"{metric.words} {format_decimal(value)}"


def label_metric(metric: Metric) -> str:
    """Returns the name of a metric for an axis or a column.

    Examples:
        >>> label_metric(Metric("bits_per_byte", "bits per byte", "low"))
        'error, bits per byte'
    """
    return f"error, {metric.words}" if " per " in metric.words else metric.words


def loss_words(run: Run) -> str:
    """Returns the unit of the run's loss."""
    has_tokens = headline(run).key == BITS_PER_BYTE
    return "nats per token" if has_tokens else "nats per target"


def validation_loss(row: Json) -> float | None:
    """Returns the validation loss of a logged row or a block of errors."""
    values = [number(row, f"valid_{name}") for name in LOSSES]
    return next((value for value in values if value is not None), None)


def _read(entry: object) -> Metric | None:
    """Reads an entry of ``metrics``; None if it has no name."""
    key = entry.get("key") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(key, str):
        return None
    words = entry.get("words")
    better = "high" if entry.get("better") == "high" else "low"
    names = ("valid", "test", "test_low", "test_high")
    words = words if isinstance(words, str) else key.replace("_", " ")
    return Metric(key, words, better, *(number(entry, name) for name in names))


def _find_keys(run: Run) -> list[str]:
    """Returns the keys of the metrics that a log or an old report holds."""
    errors = run.report.get("error")
    names = list(errors) if isinstance(errors, dict) else []
    keys = [n.removeprefix("valid_") for n in names if n.startswith("valid_")]
    keys = [key for key in keys if key not in LOSSES]
    if BITS_PER_BYTE in keys or not keys:
        return [BITS_PER_BYTE]
    return keys


def _from_errors(report: Json, key: str) -> Metric:
    better = "low" if any(part in key for part in LOWER_IS_BETTER) else "high"
    values = (number(report, "error", f"{split}_{key}") for split in ("valid", "test"))
    return Metric(key, key.replace("_", " "), better, *values)


def _find_obstacle(runs: Sequence[Run], metrics: Sequence[Metric]) -> str:
    if len({metric.key for metric in metrics}) > 1:
        words = " and ".join(dict.fromkeys(metric.words for metric in metrics))
        return f"The runs have different metrics ({words})."
    if _have_different_data(runs):
        return (
            "The runs learned from different data (their fingerprints differ: other "
            "examples, another split or another vocabulary)."
        )
    return ""


def _have_different_data(runs: Sequence[Run]) -> bool:
    """Compares fingerprints; the names of sources where a run has none yet."""
    blocks = [run.report.get("data") for run in runs]
    prints = [b.get("fingerprint") if isinstance(b, dict) else None for b in blocks]
    if None in prints:
        prints = [_source_of(run) for run in runs]
    return len({str(name) for name in prints}) > 1


def _source_of(run: Run) -> object:
    data = run.config.get("data")
    return data.get("source") if isinstance(data, dict) else None
