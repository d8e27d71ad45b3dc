"""Extractive summaries: sentences that are found again, within their limits."""

import json

import numpy as np
import pytest

from slimjax.data.config import DataConfig
from slimjax.data.sentence_columns import (
    CHOSEN,
    SENTENCES,
    choose_like,
    join_sentences,
    sentences_of,
    split_sentences,
)
from slimjax.errors import ConfigError, DataError
from slimjax.metrics import extra, reported
from slimjax.models.head import HeadSettings
from slimjax.predict.predictor import open_predictor
from slimjax.run.evaluate import nothing_measured
from slimjax.run.finish import describe_metrics
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import extractive
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example
from slimjax.train.config import make_run_config


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def write(path, examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


def make_documents(number):
    examples = []
    for i in range(number):
        parts = [f"Filler {j} of {i}." for j in range(4)]
        parts[i % 4] = f"Rain fell on {i}."
        examples.append({"document": " ".join(parts), "summary": f"rain fell on {i}"})
    return examples


def load(path, head=None, **changes):
    options = dict(tokenizer="bytes", seq_len=48, valid_fraction=0.2, test_fraction=0.2)
    options |= dict(source=f"jsonl:{path}")
    return extractive.load(DataConfig(**options | changes), head=head)


def test_sentences_end_at_signs_and_lines():
    text = 'He said "No." Then 3.5 km? Yes!\nA line\n真的。好。end'
    expected = [
        'He said "No."',
        "Then 3.5 km?",
        "Yes!",
        "A line",
        "真的。",
        "好。",
        "end",
    ]
    assert split_sentences(text) == expected
    assert join_sentences(["真的。", "好。"]) == "真的。好。"
    assert join_sentences(["A b.", "C."]) == "A b. C."


def test_what_is_like_a_summary_is_taken_one_by_one():
    sentences = ["the cat sat", "a dog ran far", "the cat", "nothing here"]
    assert choose_like(sentences, "The cat sat. A dog ran.", 3) == [0, 1]
    assert choose_like(sentences, "The cat sat. A dog ran.", 1) == [0]
    assert choose_like(sentences, "The cat sat. A dog ran.", 0, 4) == [0]
    assert choose_like(sentences, "xyz", 3) == []


@pytest.mark.parametrize("seq_len", [24, 48, 200])
def test_each_sentence_is_a_target_once(tmp_path, seq_len):
    data = load(write(tmp_path / "a.jsonl", make_documents(40)), seq_len=seq_len)
    for split in data.splits:
        examples, arrays = data.read_examples()[split], data.splits[split]
        owners = np.asarray(data.row_counts[split]["example"])
        for i, example in enumerate(examples):
            rows = owners == i
            here = arrays[SENTENCES][rows] >= 0
            numbers = arrays[SENTENCES][rows][here]
            assert sorted(numbers) == [0, 1, 2, 3]
            bos = np.asarray(arrays["tokens"])[rows][here]
            assert (bos == data.special["bos"]).all()
            chosen = numbers[arrays[CHOSEN][rows][here] == 1]
            assert [sentences_of(example)[k][:4] for k in chosen] == ["Rain"]


def test_limits_are_kept():
    sentences = ["a b c", "d", "e f", "g h i j"]
    scores = np.array([0.9, 0.2, 0.8, 0.95])
    assert extractive.choose(scores, sentences, 2) == [0, 3]
    assert extractive.choose(scores, sentences, 0, 5) == [1, 3]
    assert extractive.choose(scores, sentences, 0, 3) == [0]
    alone = extractive.choose(scores[3:], sentences[3:], 0, 2)
    assert alone == [0]  # A summary is never empty.


def test_answers_join_windows_and_keep_the_order():
    example = Example({"sentences": ("One.", "Two.", "Three.")}, "a", 1)
    rows = {SENTENCES: np.array([[-1, 0, 1], [-1, 2, -1]])}
    kept = {CHOSEN: np.array([[9.0, 0.1, 0.8], [9.0, 0.9, 9.0]])}
    results = Results([example], kept, rows, np.array([0, 2]), {})
    (said,) = extractive.answer(results, HeadSettings(num_sentences=2))
    assert said["chosen"] == [1, 2]
    assert said["prediction"] == "Two. Three."
    gold = Example({**example.values, "labels": (0, 1, 0)}, "a", 1)
    columns = extractive.score([said], [gold], HeadSettings())
    assert float(reported.SENTENCES[0].of(columns)) == pytest.approx(2 / 3)


def test_labels_are_one_for_each_sentence(tmp_path):
    examples = [
        {"sentences": [f"A {i}.", "B."], "labels": [1, i % 2]} for i in range(30)
    ]
    path = write(tmp_path / "a.jsonl", examples)
    data = load(path)
    chosen = np.concatenate([data.splits[split][CHOSEN] for split in data.splits])
    assert (chosen == 1).sum() == 30 + 15
    examples[4]["labels"] = [1]
    with pytest.raises(DataError, match=r"line 5 has 2 sentences and 1 labels"):
        load(write(path, examples))
    examples[4]["labels"] = [1, 2]
    with pytest.raises(DataError, match=r"line 5 field labels\[1\] is 2, not 0 or 1"):
        load(write(path, examples))


def test_documents_without_summaries_are_nothing_to_learn_from(tmp_path):
    alone = [{"document": f"A {i}."} for i in range(20)]
    with pytest.raises(DataError, match="has no field summary"):
        load(write(tmp_path / "a.jsonl", alone))
    both = [{**e, "sentences": ["A."]} for e in make_documents(20)]
    path = write(tmp_path / "b.jsonl", both)
    with pytest.raises(DataError, match="has a document and sentences"):
        load(path)
    fields = dict(document="document", summary="summary")
    assert load(path, fields=fields).num_rows("train") > 10


@pytest.mark.parametrize("renamed", ["document", "summary"])
def test_a_name_that_fields_leave_out_stands_for_itself(tmp_path, renamed):
    examples = make_documents(40)
    for example in examples:
        example["own"] = example.pop(renamed)
        example["labels"] = ["politics"]  # Something else, which summaries exclude.
    fields = {"summary": "summary"} | {renamed: "own"}
    data = load(write(tmp_path / "a.jsonl", examples), fields=fields)
    assert data.num_rows("train") > 20
    for example in examples:
        del example["labels"]
    data = load(write(tmp_path / "b.jsonl", examples), fields={renamed: "own"})
    assert data.num_rows("train") > 20


@pytest.mark.parametrize(("max_words", "expected"), [(0, 4), (4, 2), (2, 1)])
def test_targets_have_no_more_words_than_are_allowed(tmp_path, max_words, expected):
    words = ["Rain fell.", "Ice broke.", "Sun rose.", "Wind blew."]
    rows = [
        {"document": f"{' '.join(words)} No {i}.", "summary": " ".join(words)}
        for i in range(20)
    ]
    head = HeadSettings(num_sentences=0 if max_words else 4, max_words=max_words)
    data = load(write(tmp_path / "a.jsonl", rows), head, seq_len=99)
    for split in data.splits:
        chosen = np.asarray(data.splits[split][CHOSEN])
        assert ((chosen == 1).sum(axis=1) == expected).all()


def test_a_summary_needs_a_limit():
    with pytest.raises(ConfigError, match="without an end"):
        HeadSettings(num_sentences=0)


def test_a_model_learns_which_sentences_count(tmp_path):
    path = write(tmp_path / "a.jsonl", make_documents(160))
    data = dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=80, batch_size=16)
    data |= dict(valid_fraction=0.2, test_fraction=0.2)
    model = dict(kind="encoder", width=16, num_layers=1, num_heads=2, mlp_dim=24)
    model |= dict(dtype="float32", positions="rotary")
    run = make_run_config(
        dict(
            task="extractive",
            data=data,
            model=model,
            head=dict(num_sentences=1),
            objective=dict(strategy="none"),
            optim=dict(learning_rate=2e-2, warmup_steps=5),
            train=dict(num_steps=40, eval_every_steps=20),
            mesh=dict(data=1),
        )
    )
    with Display(quiet=True) as display:
        report = train(run, tmp_path / "run", display=display)
    assert report["error"]["test_sentence_f1"] > 0.7  # By chance 0.25.
    long = " ".join(f"Filler {i} of 7." for i in range(30)) + " Rain fell on 8."
    (found,) = open_predictor(tmp_path / "run").predict([{"document": long}])
    assert len(found["chosen"]) == 1
    assert len(found["scores"]) == 31
    assert found["prediction"] in long


def test_the_headline_is_one_that_can_be_measured_here(monkeypatch):
    task = extractive.make_task({"pad": 0, "bos": 1, "eos": 2})
    assert task.headline.key == "rougeL"
    monkeypatch.setattr(extra, "has_library", lambda _: False)
    assert task.headline.key == "sentence_f1"
    nothing = nothing_measured(task)
    described = describe_metrics(task, nothing, nothing)
    keys = [part["key"] for part in described]
    assert keys[0] == "sentence_f1"
    assert not [key for key in keys if key.startswith("rouge")]
