"""What table.py shows: studies and their metrics, arms in order, goals, comparisons."""

from typing import NamedTuple


class Shown(NamedTuple):
    """How a metric is shown.

    Attributes:
        words: Its name for readers.
        factor: What its values are multiplied by.
        digits: Decimals.
    """

    words: str
    factor: float = 100
    digits: int = 1


METRICS = {
    "accuracy": Shown("accuracy"),
    "macro_f1": Shown("macro F1"),
    "roc_auc": Shown("AUC", 1, 3),
    "pearson": Shown("Pearson", 1, 3),
    "mae": Shown("absolute error", 1, 2),
    "entity_f1": Shown("entity F1"),
    "tag_accuracy": Shown("tag accuracy"),
    "exact_match": Shown("exact match"),
    "answer_f1": Shown("answer F1"),
    "mrr": Shown("MRR", 1, 3),
    "hit_at_1": Shown("hit@1", 1, 3),
    "rougeL": Shown("ROUGE-L", 1),
    "rouge1": Shown("ROUGE-1", 1),
    "bleu": Shown("BLEU", 1),
    "chrf": Shown("chrF", 1),
    "perplexity": Shown("perplexity", 1),
}
LABELS = ("accuracy", "macro_f1", "roc_auc")
STUDIES: dict[str, tuple[str, ...]] = {
    "movie": LABELS,
    "three": ("macro_f1", "accuracy", "roc_auc"),
    "graded": ("pearson", "mae"),
    "zh": LABELS,
    "r8": LABELS,
    "news": LABELS,
    "spam": LABELS,
    "ner": ("entity_f1", "tag_accuracy"),
    "ner-zh": ("entity_f1", "tag_accuracy"),
    "spans": ("exact_match", "answer_f1"),
    "spans-zh": ("exact_match", "answer_f1"),
    "pair": LABELS,
    "relation": LABELS,
    "faq": ("mrr", "hit_at_1"),
    "translate": ("bleu", "chrf"),
    "translate-back": ("bleu", "chrf"),
    "summary": ("rougeL", "rouge1"),
    "extract": ("rougeL", "rouge1"),
    "triples": ("rougeL", "perplexity"),
    "chat": ("perplexity",),
    "mnist": LABELS,
    "fashion": LABELS,
}
"""The headline of each study, and metrics beside it."""

ARMS = (
    *("dense", "slim", "longer", "recurrent", "gru-below", "pretrained", "minilm"),
    *("textbook", "numpy", "textbook-relu", "numpy-relu", "tuned"),
    *("slim-units", "slim-bits"),
    *("naive-bayes", "lr", "svm", "ridge", "majority", "gazetteer", "linear"),
    *("crf", "nothing"),
    *("tf-idf", "copy", "nearest", "word-by-word", "sentence", "clause", "oracle"),
)

GOALS: dict[tuple[str, str], dict[str, float]] = {
    ("movie", "dense"): {"accuracy": 80.0},
    ("movie", "pretrained"): {"accuracy": 80.0},
    ("movie", "minilm"): {"accuracy": 86.5},
    ("graded", "dense"): {"pearson": 0.72},
    ("graded", "minilm"): {"pearson": 0.80},
    ("zh", "recurrent"): {"accuracy": 86.0},
    ("r8", "longer"): {"accuracy": 97.5, "macro_f1": 93.0},
    ("ner", "dense"): {"entity_f1": 38.0},
    ("ner", "minilm"): {"entity_f1": 46.0},
    ("ner-zh", "dense"): {"entity_f1": 84.0},
    ("ner-zh", "gru-below"): {"entity_f1": 87.0},
    ("spans", "minilm"): {"exact_match": 62.0},
    ("spans-zh", "dense"): {"exact_match": 82.0},
    ("pair", "minilm"): {"accuracy": 95.0},
    ("relation", "minilm"): {"accuracy": 80.0},
    ("faq", "minilm"): {"mrr": 0.78},
    ("translate", "dense"): {"bleu": 32.0},
    ("summary", "dense"): {"rougeL": 26.0},
    ("extract", "dense"): {"rougeL": 28.5},
}
"""What was hoped for before anything was measured."""

PAIRS = (
    ("movie", "slim", "dense"),
    ("movie", "dense", "naive-bayes"),
    ("movie", "pretrained", "dense"),
    ("movie", "minilm", "naive-bayes"),
    ("r8", "slim", "dense"),
    ("r8", "longer", "svm"),
    ("zh", "slim", "dense"),
    ("zh", "recurrent", "svm"),
    ("ner-zh", "gru-below", "dense"),
    ("mnist", "textbook", "numpy"),
    ("mnist", "textbook-relu", "numpy-relu"),
    ("mnist", "slim-units", "tuned"),
    ("mnist", "slim-bits", "tuned"),
    ("fashion", "textbook", "numpy"),
    ("fashion", "textbook-relu", "numpy-relu"),
)
"""Arms that are compared seed by seed."""


def get(result: dict, key: str) -> float | None:
    """Returns a metric on the test split; None if it was not measured."""
    if key in result:
        return result[key]
    found = (m["test"] for m in result.get("metrics", ()) if m["key"] == key)
    return next(found, None)


def value(result: dict, key: str) -> float:
    """Returns a metric that was measured, as it is shown."""
    found = get(result, key)
    assert found is not None
    return METRICS[key].factor * found


def spread(values: list[float], key: str) -> str:
    """Returns the mean, and the standard deviation over seeds if there are several.

    Examples:
        >>> spread([80.0, 82.0], "accuracy")
        '81.0 ± 1.4'
    """
    digits = METRICS[key].digits
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"
