"""Buckets: each row once in an epoch of its bucket, wherever a run goes on."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import DataConfig, Field, load_labelled_dataset
from slimjax.data.buckets import Buckets, make_buckets
from slimjax.errors import ConfigError

COUNTS = st.lists(st.integers(0, 40), min_size=2, max_size=4).filter(sum)


def make(counts):
    ends = np.cumsum([0, *counts])
    rows = tuple(np.arange(a, b) for a, b in itertools.pairwise(ends))
    return Buckets(tuple(range(1, 1 + len(counts))), rows)


@given(COUNTS, st.integers(1, 9), st.integers(0, 3))
def test_each_row_comes_as_often_as_its_bucket_was_read(counts, batch_size, seed):
    buckets = make(counts)
    num_steps = 3 * sum(counts) // batch_size + 1
    streams = {length: [] for length in buckets.lengths}
    for step in range(num_steps):
        length, rows = buckets.choose(step, batch_size, seed)
        assert len(rows) == batch_size
        streams[length].extend(rows)
    for length, own in zip(buckets.lengths, buckets.rows, strict=True):
        assert set(streams[length]) <= set(own)
        times = Counter(streams[length])
        assert max(times.values(), default=0) - min(times.values(), default=0) <= 1
        if len(own):  # By now each bucket was read three times, less a batch.
            assert (
                abs(
                    len(streams[length])
                    - num_steps * batch_size * len(own) / sum(counts)
                )
                < 3 * len(counts) * batch_size
            )


def test_a_step_has_the_same_rows_however_it_is_reached():
    buckets = make([50, 31, 7])
    some = [buckets.choose(step, 4, 5) for step in (0, 99, 2**31 + 3, 2**40)]
    again = [make([50, 31, 7]).choose(s, 4, 5) for s in (2**40, 2**31 + 3, 99, 0)]
    for (length, rows), (other, others) in zip(some, again[::-1], strict=True):
        assert length == other
        np.testing.assert_array_equal(rows, others)
    orders = [
        [buckets.choose(step, 4, seed)[0] for step in range(start, start + 22)]
        for seed, start in ((5, 0), (5, 22), (6, 0))
    ]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_a_row_is_in_the_shortest_bucket_that_holds_all_of_it():
    fields = {
        "tokens": Field((8,), "int32", ("positions",), fill=0),
        "source": Field((4, 2), "int32", ("positions", None), fill=-1),
        "label": Field((), "int32", ()),
    }
    tokens = np.zeros((4, 8), np.int32)
    source = np.full((4, 4, 2), -1)
    tokens[0, :2], tokens[1, [0, 4]], tokens[2, 0], tokens[3] = 5, 5, 5, 5
    source[2, 1, 1] = 0
    arrays = {"tokens": tokens, "source": source, "label": np.zeros(4)}
    buckets = make_buckets([2, 5, 8], fields, arrays)
    assert [list(rows) for rows in buckets.rows] == [[0], [1, 2], [3]]
    assert buckets.mean_length(8) == 5
    assert buckets.mean_length(4) == round((1 + 3 + 3 + 4) / 4)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.jsonl"
    rows = [{"text": "x" * (1 + 3 * i % 25), "label": i % 3} for i in range(90)]
    path.write_text("\n".join(map(json.dumps, rows)))
    config = DataConfig(
        f"jsonl:{path}",
        tokenizer="bytes",
        seq_len=27,
        buckets=(8, 16),
        on_duplicate="keep",
    )
    return load_labelled_dataset(config, {"text": "text", "label": "label"})


def test_a_batch_is_its_rows_cut_to_the_bucket(dataset):
    seen = set()
    for step in range(20):
        length, numbers = dataset.buckets.choose(step, 4, 7)
        batch, whole = (
            dataset.training_batch(step, 4, 7),
            dataset.rows("train", numbers),
        )
        assert batch["tokens"].shape == (4, length)
        np.testing.assert_array_equal(batch["tokens"], whole["tokens"][:, :length])
        np.testing.assert_array_equal(whole["tokens"][:, length:], 0)
        np.testing.assert_array_equal(batch["label"], whole["label"])
        seen.add(length)
    assert seen == {8, 16, 27}
    outline = dataset.outline
    assert outline.buckets == (8, 16, 27)
    lengths = [dataset.training_batch(s, 4, 7)["tokens"].shape[1] for s in range(400)]
    assert outline.priced_lengths[""] == pytest.approx(np.mean(lengths), abs=1)
    assert outline.length == 27
    shapes = [fields["tokens"].shape for fields in outline.batch_fields]
    assert shapes == [(8,), (16,), (27,)]


@pytest.mark.parametrize("buckets", [(0,), (8, 8), (9, 8), (200,), (8.5,), "8"])
def test_buckets_rise_up_to_the_length_of_a_row(buckets):
    with pytest.raises(Exception, match="buckets"):
        DataConfig(buckets=buckets)


def test_plain_text_has_no_buckets():
    with pytest.raises(ConfigError, match=r"buckets=\(8,\) is for labelled examples"):
        DataConfig("text:a.txt", buckets=(8,)).reading()
    with pytest.raises(ConfigError, match="group_field=who is for labelled"):
        DataConfig("text:a.txt", group_field="who").reading()
