"""What a dry run prints of labelled data, and the notes of a run."""

import json

import pytest

from slimjax import tasks
from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.overview import describe_examples
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError

SCHEMA = Schema({"text": "text", "label": "label"})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return f"jsonl:{path}"


def load(source, **changes):
    settings = {"tokenizer": "bytes", "seq_len": 12} | changes
    return load_labelled_dataset(DataConfig(source, **settings), SCHEMA)


def make_rows(number):
    rows = [{"text": "x" * i, "label": "ab"[i % 2]} for i in range(1, number + 1)]
    return [row | {"who": f"w{i // 5}"} for i, row in enumerate(rows)]


def test_counts_labels_copies_and_lengths_are_described(tmp_path):
    rows = [*make_rows(20), {"text": "xx", "label": "c"}, {"text": "x", "label": "b"}]
    source = write(tmp_path / "a.jsonl", rows)
    valid = write(tmp_path / "v.jsonl", [{"text": "v", "label": "a"}] * 2)
    dataset = load(source, valid_source=valid, test_fraction=0.0)
    found = describe_examples(dataset)
    assert found["examples_train"] == 22
    assert found["examples_valid"] == 2
    assert found["label_train"] == {"b": 11, "a": 10, "c": 1}
    assert found["label_valid"] == {"a": 2}
    assert found["label_missing_in_valid"] == ["b", "c"]
    assert "label_missing_in_test" not in found
    assert (found["repeated"], found["contradictions"]) == (2, 1)
    assert (found["tokens_median"], found["tokens_longest"]) == (10, 20)
    assert found["cut_train"] == "10 (45.5%)"
    notes = " ".join(found["notes"])
    assert "1 inputs have different answers in 2 examples" in notes
    assert "Classes without an example: valid has no b, c." in notes


def test_groups_come_from_a_field_of_the_files(tmp_path):
    source = write(tmp_path / "a.jsonl", make_rows(60))
    dataset = load(source, group_field="who", valid_fraction=0.3, test_fraction=0.3)
    groups = [
        {(len(e.values["text"]) - 1) // 5 for e in examples}
        for examples in dataset.read_examples().values()
    ]
    assert sum(map(len, groups)) == 12
    assert len(groups[0] | groups[1] | groups[2]) == 12
    with pytest.raises(DataError, match=r"line 1 has no field whom\. Did you mean who"):
        load(source, group_field="whom")
    source = write(
        tmp_path / "b.jsonl", [*make_rows(9), {"text": "x", "label": "a", "who": None}]
    )
    with pytest.raises(DataError, match="line 10 field who is None, not a group"):
        load(source, group_field="who")
    table = tmp_path / "c.csv"
    table.write_text("\n".join(f"{i},{i % 2},{i % 7}" for i in range(70)))
    changes = {"header": False, "fields": {"text": 0, "label": 1}, "group_field": "2"}
    numbered = load(f"csv:{table}", valid_fraction=0.3, test_fraction=0.3, **changes)
    splits = numbered.read_examples().values()
    groups = [{int(e.values["text"]) % 7 for e in examples} for examples in splits]
    assert sum(map(len, groups)) == 7


def test_a_task_without_classes_has_no_strata(tmp_path):
    source = write(tmp_path / "a.jsonl", [{"text": f"{i}"} for i in range(40)])
    config = DataConfig(source, tokenizer="bytes", stratify=True)
    with pytest.raises(ConfigError, match="stratify=True draws splits by class"):
        load_labelled_dataset(config, Schema({"text": "text"}))


def describe(task, path, rows, **changes):
    """Returns what a dry run prints of examples of a task, one in ten held out."""
    for name, own in (("source", rows[10:]), ("valid_source", rows[:10])):
        changes[name] = write(path / f"{name}.jsonl", own)
    settings = {"tokenizer": "bytes", "seq_len": 24, "test_fraction": 0.0} | changes
    return describe_examples(tasks.get(task).load(DataConfig(**settings)))


@pytest.mark.parametrize(("length", "limit"), [(5, "target_len=5"), (0, "seq_len=24")])
def test_targets_that_are_cut_are_counted_beside_sources(tmp_path, length, limit):
    rows = [{"source": "x" * i, "target": "y" * i} for i in range(1, 31)]
    found = describe("seq2seq", tmp_path, rows, target_len=length)
    num_cut = sum(i + 1 > (length or 24) for i in range(11, 31))
    assert found["cut_train"] == "8 (40.0%)"
    assert found["cut_targets_train"] == f"{num_cut} ({num_cut / 20:.1%})"
    own = sum(i + 1 > (length or 24) for i in range(1, 11))
    assert found["cut_targets_valid"] == f"{own} ({own / 10:.1%})"
    cut = f"{num_cut} of 20 in train" + f", {own} of 10 in valid" * (own > 0)
    expected = f"Targets longer than config.data.{limit} tokens, and cut: {cut}."
    assert expected in found["notes"]
    sources = "Longer than config.data.seq_len=24 tokens, and cut: 8 of 20 in train."
    assert sources in found["notes"]


def test_tags_and_types_of_entities_are_counted_in_each_split(tmp_path):
    rows = [{"tokens": ["a", str(i)], "tags": ["B-X", "I-X"]} for i in range(11)]
    rows += [{"tokens": [f"b{i}"], "tags": ["B-Y"]} for i in range(3)]
    found = describe("tagging", tmp_path, rows)
    assert found["tags_train"] == {"B-Y": 3, "B-X": 1, "I-X": 1}
    assert found["tags_valid"] == {"B-X": 10, "I-X": 10}
    assert found["tags_missing_in_valid"] == ["B-Y"]
    assert "Tags without an example: valid has no B-Y." in found["notes"]
    (tmp_path / "texts").mkdir()
    rows = [{"text": f"Ada {i}", "entities": [[0, 3, "PER"]]} for i in range(11)]
    rows += [{"text": f"In Rome {i}", "entities": [[3, 7, "LOC"]]} for i in range(2)]
    found = describe("tagging", tmp_path / "texts", rows)
    assert found["entities_train"] == {"LOC": 2, "PER": 1}
    assert found["entities_valid"] == {"PER": 10}
    assert found["entities_missing_in_valid"] == ["LOC"]
    note = "Types of entities without an example: valid has no LOC."
    assert note in found["notes"]


def test_questions_without_an_answer_and_chosen_sentences_are_counted(tmp_path):
    answer, none = {"text": ["a"], "answer_start": [0]}, {"text": []}
    none |= {"answer_start": []}
    rows = [
        {"question": "?", "context": f"a {i}", "answers": none if i % 4 else answer}
        for i in range(20)
    ]
    found = describe("span_qa", tmp_path, rows)
    assert found["no_answers_valid"] == "7 (70.0%)"
    assert found["no_answers_train"] == "8 (80.0%)"
    (tmp_path / "documents").mkdir()
    rows = [{"sentences": ["a", f"{i}"], "labels": [1, i % 2]} for i in range(14)]
    found = describe("extractive", tmp_path / "documents", rows)
    assert found["labels_train"] == {"1": 6, "0": 2}
    assert found["labels_valid"] == {"1": 15, "0": 5}


def test_lengths_are_those_of_what_is_read(tmp_path):
    """Of a chat, the past; of sources, their own tokens; of two rows, the longer."""
    say = lambda role, content: {"role": role, "content": content}
    chat = [say("user", "x" * 14), say("assistant", "yes")]
    chats = [{"messages": [say("user", f"{i}"), *chat]} for i in range(20)]
    found = describe("chat", tmp_path, chats)
    assert found["tokens_longest"] == len(f"user: 19\nuser: {'x' * 14}")
    assert found["cut_train"] == "10 (100.0%)"
    pairs = [{"text": f"{i:03}", "text_pair": "x" * (30 + i)} for i in range(20)]
    assert describe("ranking", tmp_path, pairs)["tokens_longest"] == 49
    words = ["rain", "river", "cloud", "storm"]
    texts = [[words[i // 4 ** (j % 3) % 4] for j in range(10)] for i in range(40)]
    rows = [
        {"source": " ".join(text), "target": f"{i}"} for i, text in enumerate(texts)
    ]
    options = dict(tokenizer="sentencepiece", vocab_size=270, source_vocab_size=300)
    found = describe("seq2seq", tmp_path, rows, **options)
    assert found["tokens_median"] < 12
    assert "cut_train" not in found or found["cut_train"].startswith("0 ")
