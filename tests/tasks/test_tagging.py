"""Tagging as one file: from tagged sentences to entities."""

import numpy as np
import pytest

from slimjax.data.tag_columns import TAGS, WORDS
from slimjax.data.tags import Tags
from slimjax.tasks import tagging
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example


def results_of(values, words, classes, starts):
    tags = Tags(["LOC", "PER"], [1] * 5)
    examples = [Example(value, "a", i + 1) for i, value in enumerate(values)]
    kept, rows = {TAGS: np.array(classes)}, {WORDS: np.array(words)}
    return Results(examples, kept, rows, np.array(starts), {TAGS: tags})


def test_answers_join_the_windows_of_an_example():
    values = [{"tokens": ("a", "b", "c")}, {"text": "Ada saw  Rome"}]
    words = [[-1, 0, -1, 1, -1], [-1, -1, 2, -1, -1], [-1, 0, 1, -1, 2]]
    classes = [[4, 3, 1, 4, 0], [0, 0, 4, 0, 3], [0, 4, 0, 1, 1]]
    one, other = tagging.answer(results_of(values, words, classes, [0, 2, 3]))
    assert one["prediction"] == ["B-PER", "I-PER", "I-PER"]
    assert one["entities"] == [[0, 3, "PER"]]
    assert other["tokens"] == ["Ada", "saw", "Rome"]
    assert other["prediction"] == ["B-PER", "O", "B-LOC"]  # Nothing to go on with.
    assert other["entities"] == [[0, 3, "PER"], [9, 13, "LOC"]]


def test_entities_are_counted_over_whole_examples():
    examples = [
        Example({"tokens": ("a", "b"), "tags": ("B-PER", "E-PER")}, "a", 1),
        Example({"text": "abc", "entities": ((0, 2, "LOC"),)}, "a", 2),
    ]
    answers = [{"entities": [[0, 2, "PER"]]}, {"entities": [[0, 1, "LOC"]]}]
    columns = tagging.score(answers, examples)
    np.testing.assert_array_equal(columns["entity_hits"], [1, 0])
    np.testing.assert_array_equal(columns["entity_gold"], [1, 1])
    assert float(tagging.METRICS[0].of(columns)) == pytest.approx(0.5)
