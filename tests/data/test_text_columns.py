"""Rows of one text or two: nothing is lost without notice, and ends are marked."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.config import DataConfig
from slimjax.data.labels import Labels, load_labels
from slimjax.data.text_columns import encode_pair
from slimjax.errors import DataError
from slimjax.models.head import HeadSettings
from slimjax.nn.readout import Readout
from slimjax.tasks import classification
from slimjax.tasks.answers import Results
from slimjax.tasks.inputs import find_types, read_row

TOKENIZER = BytesTokenizer()
BOS, EOS, PAD = TOKENIZER.bos_id, TOKENIZER.eos_id, TOKENIZER.pad_id


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(3, 16))
def test_two_texts_stand_in_a_row_with_their_ends(len_a, len_b, seq_len):
    a, b = np.full(len_a, 10, np.int32), np.full(len_b, 20, np.int32)
    row = encode_pair(TOKENIZER, a, b, seq_len)
    assert row.shape == (seq_len,)
    content = row[row != PAD].tolist()
    kept_a, kept_b = content.count(10), content.count(20)
    assert content == [BOS, *[10] * kept_a, EOS, *[20] * kept_b, EOS]
    room = seq_len - 3
    assert kept_a + kept_b == min(len_a + len_b, room)
    if len_a + len_b > room:  # The longer one loses first.
        assert kept_a == len_a or kept_b == len_b or abs(kept_a - kept_b) <= 1
        assert kept_a == len_a or kept_a >= kept_b
        assert kept_b == len_b or kept_b >= kept_a - 1


def test_types_change_behind_the_end_of_the_first_text():
    row = encode_pair(TOKENIZER, np.int32([7, 8]), np.int32([9]), 8)[None]
    row = jnp.asarray(row)
    np.testing.assert_array_equal(find_types(row, EOS), [[0, 0, 0, 0, 1, 1, 1, 1]])
    inputs = read_row({"tokens": row}, TOKENIZER.special)
    np.testing.assert_array_equal(inputs["tokens_segments"], row != PAD)
    one = jnp.array([[EOS, 7, EOS]])  # Some vocabularies have one id for both ends.
    np.testing.assert_array_equal(find_types(one, EOS), [[0, 0, 0]])


def write(path, examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


def load(path, head=None, **changes):
    options = dict(tokenizer="bytes", seq_len=24, valid_fraction=0.2, test_fraction=0.2)
    config = DataConfig(source=f"jsonl:{path}", **options | changes)
    return classification.load(config, head=head)


def make_pairs(number):
    return [
        {"text": f"one {i}", "text_pair": f"two {i}", "label": "ab"[i % 2]}
        for i in range(number)
    ]


def test_a_second_text_is_read_where_the_files_have_it(tmp_path):
    data = load(write(tmp_path / "a.jsonl", make_pairs(40)))
    tokens = data.splits["train"]["tokens"][0]
    assert (tokens == EOS).sum() == 2
    text = TOKENIZER.decode(tokens[tokens != EOS])
    assert text.startswith("one")
    assert "two" in text
    examples = data.read_examples()["train"]
    size = sum(
        len(e.values[n].encode()) for e in examples for n in ("text", "text_pair")
    )
    assert data.counts["bytes"]["train"] == size


def test_an_example_without_the_second_text_is_refused(tmp_path):
    pairs = make_pairs(20)
    del pairs[7]["text_pair"]
    with pytest.raises(DataError, match=r"line 8 has no field text_pair"):
        load(write(tmp_path / "a.jsonl", pairs))


MANY = HeadSettings(multi_label=True)


def make_many(number):
    names = ["good", "long", "old"]
    return [
        {"text": f"film {i}", "label": [n for j, n in enumerate(names) if i >> j & 1]}
        for i in range(number)
    ]


def test_lists_of_labels_become_yes_and_no(tmp_path):
    examples = make_many(48)
    data = load(write(tmp_path / "a.jsonl", examples), MANY)
    assert data.sizes["labels"] == 3
    labels = data.codecs["label"]
    found = [example for s in data.splits for example in data.read_examples()[s]]
    rows = np.concatenate([data.splits[s]["label"] for s in data.splits])
    for example, row in zip(found, rows, strict=True):
        own = {name for name, yes in zip(labels.names, row, strict=True) if yes}
        assert own == set(example.values["label"])
    labels.save(tmp_path)
    batch = list(data.evaluation_batches("valid", np.arange(3), 4))[-1]
    target = classification.targets(jax.tree.map(jnp.asarray, batch), None)["label"]
    assert target.values.shape == (4, 3)
    np.testing.assert_array_equal(target.weight, [1, 1, 1, 0])
    assert set(np.unique(target.values)) <= {0.0, 1.0}


def test_a_label_where_lists_are_asked_for_is_refused(tmp_path):
    examples = make_many(20)
    examples[3]["label"] = 7
    with pytest.raises(DataError, match=r"line 4 field label is 7, not a list"):
        load(write(tmp_path / "a.jsonl", examples), MANY)


def test_a_list_where_a_label_is_asked_for_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a list, not a label"):
        load(write(tmp_path / "a.jsonl", make_many(20)))


def test_many_labels_are_answered_one_by_one():
    names = ("good", "long", "old")
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, -1.0, -2.0]], np.float32)
    readouts = {"label": Readout(jnp.asarray(logits), jnp.eye(3))}
    batch = {"label": jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])}
    task = classification.make_task(TOKENIZER.special).fit(MANY)
    assert task.headline.key == "micro_f1"
    columns = {k: np.asarray(v) for k, v in task.outputs(readouts, batch).items()}
    np.testing.assert_array_equal(columns["predictions"], logits > 0)
    assert float(task.headline.of(columns)) == pytest.approx(2 * 1 / (2 + 2))
    kept = {k: np.asarray(v) for k, v in task.predict(readouts, batch).items()}
    labels = {"label": Labels(names, [1, 1, 1], is_many=True)}
    answers = task.answer(Results([], kept, {}, np.arange(3), labels))
    assert [answer["prediction"] for answer in answers] == [["good", "old"], []]
    expected = 1 / (1 + np.exp(-logits[0]))
    assert list(answers[0]["scores"].values()) == pytest.approx(expected)
    assert classification.heads({"vocab": 9, "labels": 3})[0].loss == "binary"


def test_the_kind_of_labels_is_kept(tmp_path):
    labels = Labels(["a", "b"], [2, 3], field="tags", is_many=True)
    labels.save(tmp_path)
    found = load_labels(tmp_path)
    assert (found.names, found.field, found.is_many) == (("a", "b"), "tags", True)
