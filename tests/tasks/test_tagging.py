"""Tagging as one file: from tagged sentences to entities."""

import json

import numpy as np
import pytest

from slimjax.data.tag_columns import TAGS, WORDS
from slimjax.data.tags import Tags
from slimjax.predict.predictor import open_predictor
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import tagging
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example
from slimjax.train.config import make_run_config

NAMES = {"PER": ["Ada", "Bob", "Eve"], "LOC": ["Rome", "Oslo", "Lima"]}


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
    answers = [
        {"entities": [[0, 2, "PER"]], "prediction": ["B-PER", "E-PER"]},
        {"entities": [[0, 1, "LOC"]], "prediction": ["B-PER"]},
    ]
    columns = tagging.score(answers, examples)
    np.testing.assert_array_equal(columns["entity_hits"], [1, 0])
    np.testing.assert_array_equal(columns["entity_gold"], [1, 1])
    np.testing.assert_array_equal(columns["tag_hits"], [2, 0])
    assert float(tagging.METRICS[0].of(columns)) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("tagging"), np.random.default_rng(0)
    lines = []
    for number in range(160):
        tokens, tags = [], []
        for _ in range(4):
            kind = str(draw.choice(["PER", "LOC", "O"]))
            tokens.append(str(draw.choice(NAMES.get(kind, ["saw", "and", "in"]))))
            tags.append("O" if kind == "O" else f"B-{kind}")
        tokens.append(str(number))
        lines.append({"words": tokens, "ner": [*tags, "O"], "id": number})
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=16, batch_size=16)
    data |= dict(fields=dict(tokens="words", tags="ner"))
    data |= dict(valid_fraction=0.2, test_fraction=0.2)
    run = make_run_config(
        dict(
            task="tagging",
            data=data,
            model=dict(
                kind="encoder",
                width=24,
                num_layers=1,
                num_heads=2,
                mlp_dim=32,
                dtype="float32",
                positions="rotary",
            ),
            objective=dict(strategy="none"),
            optim=dict(learning_rate=1e-2, warmup_steps=5),
            train=dict(num_steps=50, eval_every_steps=25),
            mesh=dict(data=1),
        )
    )
    with Display(quiet=True) as display:
        report = train(run, folder / "run", display=display)
    return folder / "run", report


def test_a_tagger_learns_names(finished):
    _, report = finished
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert next(iter(metrics)) == "entity_f1"
    assert metrics["entity_f1"]["test"] > 0.8
    assert metrics["tag_accuracy"]["test"] > 0.8


def test_it_answers_and_keeps_what_was_there(finished):
    (found,) = open_predictor(finished[0]).predict(
        [{"words": ["Ada", "saw", "Oslo"], "id": 7}]
    )
    assert found["id"] == 7
    assert len(found["prediction"]) == 3
    assert found["prediction"] == ["B-PER", "O", "B-LOC"]
    assert found["entities"] == [[0, 1, "PER"], [2, 3, "LOC"]]
    (said,) = open_predictor(finished[0]).predict(["Ada saw Oslo."])
    assert said["words"] == ["Ada", "saw", "Oslo", "."]  # As texts are split.
    assert said["entities"][0] == [0, 1, "PER"]
    long = open_predictor(finished[0]).predict([{"words": ["Ada", "saw"] * 30}])
    assert long[0]["truncated"] is False
    assert long[0]["prediction"].count("B-PER") > 20
