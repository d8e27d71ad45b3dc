"""What a dry run prints of labelled data, and the notes of a run."""

import json

import pytest

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
