"""The metrics of each kind of answer, the headline first, with the columns they read.

| tuple | columns |
|---|---|
| `CLASSES` | ``label``, ``prediction``: numbers of classes, ``[R]``; ``scores [R C]`` |
| `ANSWERS` | ``labels`` and ``predictions``, yes or no, ``[R C]``; ``scores [R C]`` |
| `VALUES` | ``value`` and ``prediction`` ``[R]`` |
| `ENTITIES` | see `slimjax.metrics.entities.entity_columns` |
| `SPANS` | see `slimjax.metrics.spans.answer_columns` |
| `RANKS` | ``rank [R]``, from 1 |
| `TEXTS`, `SUMMARIES` | see `slimjax.metrics.texts.text_columns` |
| `SENTENCES` | ``sentence_hits``, ``sentence_chosen``, ``sentence_right``: counts |
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from slimjax.metrics import classes, entities, ranking, scores, texts, values
from slimjax.metrics.bootstrap import Columns, total, weighted
from slimjax.metrics.classes import ClassScores
from slimjax.metrics.metric import Metric

Of = Callable[[Columns], np.ndarray]


def _class_scores(columns: Columns) -> ClassScores:
    labels, predictions = columns["label"], columns["prediction"]
    num_classes = 1 + int(max(labels.max(initial=0), predictions.max(initial=0)))
    return classes.score_classes(labels, predictions, num_classes)


def _macro(name: str) -> Of:
    return lambda c: getattr(classes.macro(_class_scores(c)), name)


def _of_scores(metric) -> Of:
    def of(columns: Columns) -> np.ndarray:
        rows, weights = weighted(columns)
        return scores.one_value(metric, rows["scores"], rows["label"], weights)

    return of


def _calibration(columns: Columns) -> np.ndarray:
    rows, weights = weighted(columns)
    right = rows["label"] == rows["prediction"]
    confidence = np.max(rows["scores"], axis=-1, initial=0.0)
    return scores.calibration_error(scores.reliability(confidence, right, weights))


def _answers(summary: Callable[[ClassScores], ClassScores], name: str) -> Of:
    def of(columns: Columns) -> np.ndarray:
        found = classes.score_answers(columns["labels"], columns["predictions"])
        return getattr(summary(found), name)

    return of


def _of_answers(metric) -> Of:
    def of(columns: Columns) -> np.ndarray:
        rows, weights = weighted(columns)
        is_right = np.asarray(rows["labels"]) > 0
        each = scores.by_answer(metric, rows["scores"], is_right, weights)
        return scores.mean_known(each)

    return of


def _calibration_of_answers(columns: Columns) -> np.ndarray:
    rows, weights = weighted(columns)
    is_right = np.asarray(rows["labels"]) > 0
    bins = scores.reliability_of_answers(rows["scores"], is_right, weights)
    return scores.calibration_error(bins)


def _all_right(columns: Columns) -> np.ndarray:
    is_right = (columns["labels"] == columns["predictions"]).all(-1)
    return np.asarray(is_right.mean(-1))


def _of_values(metric) -> Of:
    return lambda c: metric(c["prediction"], c["value"])


def _entity_ratio(whole: str) -> Of:
    return lambda c: entities.ratio_of(total(c, "entity_hits"), total(c, whole))


def _entity_f1(name: str) -> Of:
    return lambda c: entities.f1_of_counts(
        total(c, name), total(c, "entity_predicted"), total(c, "entity_gold")
    )


def _sentence_f1(columns: Columns) -> np.ndarray:
    names = ("sentence_hits", "sentence_chosen", "sentence_right")
    return entities.f1_of_counts(*(total(columns, name) for name in names))


def _sentence_part(whole: str) -> Of:
    return lambda c: entities.ratio_of(
        total(c, "sentence_hits"), total(c, f"sentence_{whole}")
    )


def _mean(name: str) -> Of:
    return lambda c: np.asarray(np.asarray(c[name], np.float64).mean(-1))


def _hit_at(k: int) -> Of:
    return lambda c: ranking.hit_at(c["rank"], k)


def _rouge(place: int) -> Of:
    return lambda c: total(c, "rouge")[..., place] / weighted(c)[1].sum(-1)


def _rate(key: str, words: str, of: Of, *, from_answers: bool = False) -> Metric:
    return Metric(key, words, "high", of, from_answers=from_answers, is_rate=True)


_answer_rate = partial(_rate, from_answers=True)
_text = partial(Metric, better="high", from_answers=True)


CLASSES = (
    _rate(
        "accuracy",
        "accuracy",
        lambda c: classes.accuracy(c["label"], c["prediction"]),
    ),
    _rate("macro_f1", "macro F1", _macro("f1")),
    _rate("macro_precision", "macro precision", _macro("precision")),
    _rate("macro_recall", "macro recall", _macro("recall")),
    _rate(
        "weighted_f1", "weighted F1", lambda c: classes.weighted_f1(_class_scores(c))
    ),
    _rate("roc_auc", "ROC AUC", _of_scores(scores.roc_auc)),
    _rate(
        "average_precision", "average precision", _of_scores(scores.average_precision)
    ),
    Metric(
        "matthews",
        "Matthews correlation",
        "high",
        lambda c: classes.matthews(_class_scores(c)),
    ),
    Metric("ece", "expected calibration error", "low", _calibration),
)
"""One class per example. Micro precision, recall and F1 are the accuracy."""

ANSWERS = (
    _rate("micro_f1", "micro F1", _answers(classes.micro, "f1")),
    _rate("micro_precision", "micro precision", _answers(classes.micro, "precision")),
    _rate("micro_recall", "micro recall", _answers(classes.micro, "recall")),
    _rate("macro_f1", "macro F1", _answers(classes.macro_of_all, "f1")),
    _rate("exact_match", "exact match", _all_right),
    _rate("roc_auc", "ROC AUC", _of_answers(scores.roc_auc)),
    _rate(
        "average_precision", "average precision", _of_answers(scores.average_precision)
    ),
    Metric("ece", "expected calibration error", "low", _calibration_of_answers),
)
"""Any number of classes per example."""

VALUES = (
    Metric("pearson", "Pearson correlation", "high", _of_values(values.pearson)),
    Metric("spearman", "Spearman correlation", "high", _of_values(values.spearman)),
    Metric("mae", "mean absolute error", "low", _of_values(values.mean_absolute_error)),
    Metric(
        "rmse",
        "root mean squared error",
        "low",
        _of_values(values.root_mean_squared_error),
    ),
)

ENTITIES = (
    _answer_rate("entity_f1", "entity F1", _entity_f1("entity_hits")),
    _answer_rate(
        "entity_precision",
        "entity precision",
        _entity_ratio("entity_predicted"),
    ),
    _answer_rate("entity_recall", "entity recall", _entity_ratio("entity_gold")),
    _answer_rate(
        "entity_partial_f1", "partial entity F1", _entity_f1("entity_partial")
    ),
)

SPANS = (
    _answer_rate("answer_f1", "answer F1", _mean("answer_f1")),
    _answer_rate("exact_match", "exact match", _mean("exact_match")),
)

RANKS = (
    _answer_rate(
        "mrr", "mean reciprocal rank", lambda c: ranking.mean_reciprocal_rank(c["rank"])
    ),
    _answer_rate("hit_at_1", "hit@1", _hit_at(1)),
    _answer_rate("hit_at_5", "hit@5", _hit_at(5)),
    _answer_rate("hit_at_10", "hit@10", _hit_at(10)),
)

TEXTS = (
    _text("bleu", "BLEU", of=lambda c: texts.bleu(total(c, "bleu_counts"))),
    _text("chrf", "chrF", of=lambda c: texts.chrf(total(c, "chrf_counts"))),
    *(
        _text(name, f"ROUGE-{name[5:]}", of=_rouge(place))
        for place, name in enumerate(texts.ROUGES)
    ),
)
"""Some of these need a library that may be missing, see `slimjax.metrics.extra`."""

_ROUGES = [metric for metric in TEXTS if metric.key.startswith("rouge")]
SUMMARIES = tuple(sorted(_ROUGES, key=lambda metric: metric.key != "rougeL"))
"""The same of ROUGE alone, the longest common part first."""

SENTENCES = (
    _answer_rate("sentence_f1", "sentence F1", _sentence_f1),
    _answer_rate("sentence_precision", "sentence precision", _sentence_part("chosen")),
    _answer_rate("sentence_recall", "sentence recall", _sentence_part("right")),
)
"""Of sentences that were chosen, over all examples together."""
