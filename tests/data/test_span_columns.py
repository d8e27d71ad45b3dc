"""Questions and contexts: an answer is found again, whichever window it is in."""

import json

import numpy as np
import pytest

from slimjax.data.config import DataConfig
from slimjax.data.span_columns import END, START, WORDS, words_of_answer
from slimjax.errors import ConfigError, DataError
from slimjax.tasks import span_qa
from slimjax.text.words import split_text

WORDS_OF = ["the", "old", "Rome", "has", "2,000", "bridges", "and", "北京", "too"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def make_questions(number, length=30):
    source, examples = np.random.default_rng(0), []
    for i in range(number):
        words = [str(word) for word in source.choice(WORDS_OF, length)]
        first = int(source.integers(length - 2))
        context = " ".join(words)
        start = len(" ".join(words[:first])) + (first > 0)
        text = " ".join(words[first : first + 2])
        answers = {"text": [text], "answer_start": [start]}
        if i % 4 == 3:
            answers = {"text": [], "answer_start": []}
        examples.append(
            {"question": f"what {i}?", "context": context, "answers": answers}
        )
    return examples


def write(path, examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


def load(path, **changes):
    options = dict(tokenizer="bytes", seq_len=64, valid_fraction=0.2, test_fraction=0.2)
    options |= dict(source=f"jsonl:{path}")
    return span_qa.load(DataConfig(**options | changes))


@pytest.mark.parametrize("seq_len", [40, 64, 512])
def test_places_lead_back_to_the_answer(tmp_path, seq_len):
    data = load(write(tmp_path / "a.jsonl", make_questions(40)), seq_len=seq_len)
    num_found = 0
    for split in data.splits:
        examples, arrays = data.read_examples()[split], data.splits[split]
        owners = np.asarray(data.row_counts[split]["example"])
        for row, owner in enumerate(owners):
            example = examples[owner]
            context = example.values["context"]
            places = split_text(context).spans
            start, end = int(arrays[START][row]), int(arrays[END][row])
            assert (start > 0) == (end > 0)
            if start:
                num_found += 1
                first, last = arrays[WORDS][row][[start, end]]
                assert first >= 0
                found = context[places[first][0] : places[last][1]]
                assert found == example.values["answers"][0][0]
        assert data.count("targets", split) == 2 * len(owners)
    assert num_found >= 30
    assert sum(data.counts["cut"].values()) == 0
    assert (seq_len == 512) == (len(owners) == len(examples))


def test_an_answer_has_all_words_that_it_touches():
    words = split_text("It is in New York, they say")
    assert words_of_answer(words, "New York", 9) == (3, 4)
    assert words_of_answer(words, "ork, th", 14) == (4, 6)


def change(examples, place, **values):
    examples[place] = {**examples[place], **values}
    return examples


BAD = {
    "has the answer Paris at 4, where the context has": {
        "text": "Paris",
        "answer_start": 4,
    },
    "where the context has nothing": {"text": "x", "answer_start": 99_999},
    "is 3, not": 3,
    "has .*-1.*, not a text and its start": {"text": ["a"], "answer_start": [-1]},
}


@pytest.mark.parametrize(("problem", "answers"), BAD.items(), ids=list(BAD))
def test_an_answer_that_is_not_where_it_is_said_to_be_is_refused(
    tmp_path, problem, answers
):
    path = write(tmp_path / "a.jsonl", change(make_questions(20), 4, answers=answers))
    with pytest.raises(DataError, match=rf"a\.jsonl, line 5 .*{problem}") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert sum(load(path, on_bad_example="skip").counts["skipped"].values()) == 1


def test_a_squad_file_is_read_as_it_is(tmp_path):
    qas = [
        {
            "id": str(i),
            "question": f"who {i}",
            "answers": [{"text": "Ada", "answer_start": 0}] if i % 2 else [],
        }
        for i in range(20)
    ]
    paragraphs = [
        {"context": f"Ada came {i}", "qas": qas[2 * i : 2 * i + 2]} for i in range(10)
    ]
    squad = {"data": [{"paragraphs": paragraphs}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad))
    data = load(path, source=f"squad:{path}")
    starts = np.concatenate([data.splits[split][START] for split in data.splits])
    assert (starts > 0).sum() == 10


def test_rows_too_short_for_a_question_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no question"):
        load(write(tmp_path / "a.jsonl", make_questions(20)), seq_len=7)


def test_all_questions_about_a_context_are_in_one_split(tmp_path):
    asked = [
        {**example, "question": f"what {k}?"}
        for example in make_questions(40)
        for k in range(3)
    ]
    path = write(tmp_path / "a.jsonl", asked)

    def contexts(**changes):
        splits = load(path, **changes).read_examples()
        assert sum(map(len, splits.values())) == len(asked)
        return [{e.values["context"] for e in splits[s]} for s in splits]

    found = contexts()
    assert not any(found[i] & found[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    mixed = contexts(on_duplicate="keep")
    assert mixed[0] & mixed[2]


def test_contexts_of_a_split_with_its_own_file_are_held_out(tmp_path):
    asked, *others = make_questions(5)
    valid = write(tmp_path / "b.jsonl", [asked | {"question": "another?"}])
    options = dict(valid_source=f"jsonl:{valid}", test_fraction=0.0)
    rows = [asked, asked | {"question": "why?"}, *others]
    path = write(tmp_path / "a.jsonl", rows)
    data = load(path, **options)
    assert data.counts["examples"] == {"train": 4, "valid": 1, "test": 0}
    assert data.counts["copies_left_out"] == 2
    note = "Left out of train: 2 examples with a context of valid or test examples."
    assert note in data.notes
    kept = load(path, on_duplicate="keep", **options)
    assert kept.counts["examples"]["train"] == 6
    rows = [row | {"page": str(i)} for i, row in enumerate(rows)]
    named = load(write(tmp_path / "a.jsonl", rows), group_field="page", **options)
    assert named.counts["examples"]["train"] == 6


def test_fewer_contexts_than_splits_are_refused_with_a_remedy(tmp_path):
    (asked,) = make_questions(1)
    rows = [asked | {"question": f"what {i}?"} for i in range(9)]
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=r"1 different ones for 3 splits.*=keep"):
        load(path)
    assert load(path, on_duplicate="keep").counts["examples"]["train"]
