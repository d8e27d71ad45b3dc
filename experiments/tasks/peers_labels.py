"""Linear peers for texts with a label or a value, by scikit-learn (extra ``tasks``)."""

import re
from functools import partial
from typing import Any

import numpy as np
from sets import read_rows

Row = dict[str, Any]
WORD = re.compile(r"\w+")
Grams = dict[str, int]
"""Of ``word`` and ``char``, how many that stand together make a feature at most."""


def _pipeline(kind: str, grams: Grams) -> Any:
    """Returns a classifier of texts that is not fitted yet.

    Args:
        kind: naive-bayes (on counts), lr or svm (on tf-idf).
        grams: What is counted.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    options = [
        {"analyzer": analyzer, "ngram_range": (1, longest)}
        for analyzer, longest in grams.items()
    ]
    if kind == "naive-bayes":
        counts = make_union(*(CountVectorizer(**own) for own in options))
        return make_pipeline(counts, MultinomialNB())
    parts = (TfidfVectorizer(sublinear_tf=True, **own) for own in options)
    model = LogisticRegression(C=4, max_iter=1_000) if kind == "lr" else LinearSVC()
    return make_pipeline(make_union(*parts), model)


def classify(
    sources: tuple[str, ...], _: int, *, kind: str, grams: Grams
) -> dict[str, Any]:
    """Returns metrics of a linear classifier of texts."""
    train, test = map(read_rows, sources)
    model = _pipeline(kind, grams)
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    texts = [row["text"] for row in test]
    scores = None
    if len(model.classes_) == 2:
        score = model.decision_function if kind == "svm" else model.predict_proba
        scores = np.asarray(score(texts))
        scores = scores if scores.ndim == 1 else scores[:, 1]
    return _measure(test, model.predict(texts), scores, model.classes_)


def classify_pairs(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of logistic regression on words and overlaps of two texts."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, test = map(read_rows, sources)
    words = {n: TfidfVectorizer(sublinear_tf=True) for n in ("text", "text_pair")}
    shared = TfidfVectorizer(sublinear_tf=True).fit(
        [f"{row['text']} {row['text_pair']}" for row in train]
    )
    for name, vectorizer in words.items():
        vectorizer.fit([row[name] for row in train])
    scaler = StandardScaler().fit(_overlaps(train, shared))

    def features(rows: list[Row]) -> Any:
        parts = [words[n].transform([row[n] for row in rows]) for n in words]
        return hstack([*parts, csr_matrix(scaler.transform(_overlaps(rows, shared)))])

    model = LogisticRegression(C=4, max_iter=2_000)
    model.fit(features(train), [row["label"] for row in train])
    found = features(test)
    scores = model.predict_proba(found)[:, 1] if len(model.classes_) == 2 else None
    return _measure(test, model.predict(found), scores, model.classes_)


def _overlaps(rows: list[Row], shared: Any) -> np.ndarray:
    """Returns how much each pair of texts shares, ``[N 6]``."""
    first, second = (
        shared.transform([row[name] for row in rows]) for name in ("text", "text_pair")
    )
    cosines = np.asarray(first.multiply(second).sum(1)).ravel()
    counts: list[list[float]] = []
    for row in rows:
        one, other = (set(WORD.findall(row[n].lower())) for n in ("text", "text_pair"))
        both = len(one & other)
        heads = {WORD.findall(row[n].lower() + " x")[0] for n in ("text", "text_pair")}
        own = both / max(len(one), 1), both / max(len(other), 1)
        counts.append([both, *own, len(heads) == 1, np.log1p(len(other))])
    return np.column_stack([cosines, np.array(counts, dtype=np.float64)])


def regress(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of ridge regression on tf-idf of words and pairs of words."""
    from scipy.stats import pearsonr
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    train, test = map(read_rows, sources)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, Ridge(alpha=0.5))
    model.fit([row["text"] for row in train], [row["value"] for row in train])
    predicted = np.asarray(model.predict([row["text"] for row in test]))
    right = np.array([row["value"] for row in test])
    correlation: Any = pearsonr(predicted, right)
    found = {"pearson": float(correlation[0])}
    found |= {"mae": float(np.mean(np.abs(predicted - right)))}
    return found | {"num_test": len(test), "note": _note()}


def _measure(
    test: list[Row], predicted: Any, scores: np.ndarray | None, classes: Any
) -> dict[str, Any]:
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    right = [row["label"] for row in test]
    found = {"accuracy": float(accuracy_score(right, predicted))}
    found |= {"macro_f1": float(f1_score(right, predicted, average="macro"))}
    if scores is not None:
        is_second = [label == classes[1] for label in right]
        found["roc_auc"] = float(roc_auc_score(is_second, scores))
        found["f1_of_rarer"] = _f1_of_rarer(right, predicted)
    return found | {"num_test": len(test), "note": _note()}


def _f1_of_rarer(right: list[str], predicted: Any) -> float:
    rarer = min(sorted(set(right)), key=right.count)
    found = np.asarray(predicted) == rarer
    is_rarer = np.array([label == rarer for label in right])
    return float(2 * np.sum(found & is_rarer) / max(np.sum(found) + is_rarer.sum(), 1))


def _note() -> str:
    import sklearn

    return f"scikit-learn {sklearn.__version__}"


def _peer(kind: str, **grams: int) -> dict[str, Any]:
    return {kind: partial(classify, kind=kind, grams=grams)}


LR = _peer("lr", word=2)
WORDS = {**_peer("naive-bayes", word=1), **LR}
PEERS = {
    "movie": {**_peer("naive-bayes", word=2), **LR, **_peer("svm", word=2, char=5)},
    "three": LR,
    "graded": {"ridge": regress},
    "zh": {**_peer("naive-bayes", char=2), **_peer("svm", char=3)},
    "r8": {**WORDS, **_peer("svm", word=2)},
    "news": {"naive-bayes": WORDS["naive-bayes"]},
    "spam": WORDS,
    "pair": {"lr": classify_pairs},
    "relation": {"lr": classify_pairs},
}
