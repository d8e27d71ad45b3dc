"""Entities are counted as nervaluate counts them; answers as SQuAD does."""

import numpy as np
import pytest

from slimjax.metrics.bootstrap import Resamples
from slimjax.metrics.entities import (
    count_by_type,
    entities_of,
    entity_columns,
)
from slimjax.metrics.reported import ENTITIES, SPANS
from slimjax.metrics.spans import answer_columns, answer_f1, exact_match

METRICS = {metric.key: metric.of for metric in ENTITIES}
TYPES = ("LOC", "PER")


def make_tags(rng, length=12):
    """Returns random BIO tags without an I- that follows nothing."""
    tags = ["O"]
    for _ in range(length):
        may_go_on = tags[-1] != "O"
        mark = rng.choice(["O", "B", "I"] if may_go_on else ["O", "B"])
        kind = tags[-1][2:] if mark == "I" else rng.choice(TYPES)
        tags.append("O" if mark == "O" else f"{mark}-{kind}")
    return tags[1:]


def make_documents(num, seed):
    rng = np.random.default_rng(seed)
    return [make_tags(rng) for _ in range(num)]


def test_any_documents_have_the_scores_of_nervaluate():
    nervaluate = pytest.importorskip("nervaluate")
    right, found = make_documents(40, 0), make_documents(40, 1)
    found[:20] = [
        tags[:-4] + other[-4:] for tags, other in zip(right[:20], found, strict=False)
    ]
    expected = nervaluate.Evaluator(right, found, list(TYPES), loader="list").evaluate()
    gold, predicted = ([entities_of(t) for t in tags] for tags in (right, found))
    rows = entity_columns(predicted, gold)
    strict, partial = (expected["overall"][name] for name in ("strict", "partial"))
    assert {name: float(of(rows)) for name, of in METRICS.items()} == pytest.approx(
        {
            "entity_f1": strict.f1,
            "entity_precision": strict.precision,
            "entity_recall": strict.recall,
            "entity_partial_f1": partial.f1,
        },
        abs=1e-9,
    )
    by_type = sum(
        count_by_type(*pair, TYPES) for pair in zip(predicted, gold, strict=True)
    )
    for name, (hits, said, true) in zip(TYPES, by_type, strict=True):
        each = expected["entities"][name]["strict"]
        assert (hits, said, true) == (each.correct, each.actual, each.possible)


def test_the_example_of_seqeval_has_its_published_f1():
    """From its README: F1 0.50."""
    right = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    found = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    gold, predicted = (
        [entities_of(tags.split()) for tags in side] for side in (right, found)
    )
    rows = entity_columns(predicted, gold)
    assert float(METRICS["entity_f1"](rows)) == 0.5
    assert float(METRICS["entity_partial_f1"](rows)) == 0.75  # One only overlaps.


@pytest.mark.parametrize("name", METRICS)
def test_a_resample_is_scored_as_a_sample_of_its_own(name):
    gold, predicted = (
        [entities_of(tags) for tags in make_documents(15, seed)] for seed in (2, 3)
    )
    drawn = np.random.default_rng(1).integers(15, size=(4, 15))
    found = METRICS[name](Resamples(entity_columns(predicted, gold), drawn))
    one_by_one = [
        METRICS[name](
            entity_columns([predicted[i] for i in line], [gold[i] for i in line])
        )
        for line in drawn
    ]
    np.testing.assert_allclose(found, one_by_one, atol=1e-12)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("S-A O B-A E-A S-B", [(0, 1, "A"), (2, 4, "A"), (4, 5, "B")]),
        ("I-A I-A I-B", [(0, 2, "A"), (2, 3, "B")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("B-A E-A I-A", [(0, 2, "A"), (2, 3, "A")]),
        ("O O", []),
        ("", []),
    ],
)
def test_tags_become_entities(tags, expected):
    assert entities_of(tags.split()) == expected


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("the Norse", ["Norse", "Norse people"], 1.0, 1.0),
        ("in France", ["France"], 0.0, 2 / 3),
        ("10th, and 11th centuries", ["10th and 11th centuries", "11th"], 1.0, 1.0),
        ("", [], 1.0, 1.0),
        ("Paris", [], 0.0, 0.0),
        ("", ["Paris"], 0.0, 0.0),
        ("the", [""], 1.0, 1.0),
        ("上海市", ["上海"], 0.0, 2 * 2 / 5),
        ("“上海”。", ["上海"], 1.0, 1.0),
        ("\u201cParis\u201d", ["Paris"], 0.0, 0.0),  # As SQuAD's own script.
    ],
)
def test_answers_are_scored_as_by_squad(prediction, answers, exact, f1):
    assert exact_match(prediction, answers) == exact
    assert answer_f1(prediction, answers) == pytest.approx(f1)


def test_the_columns_of_answers_have_their_means():
    rows = answer_columns(["in France", ""], [["France"], []])
    assert {metric.key: float(metric.of(rows)) for metric in SPANS} == pytest.approx(
        {"answer_f1": 5 / 6, "exact_match": 0.5}
    )
