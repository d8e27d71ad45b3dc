"""What a dataset promises: the same rows by number, and exact counts of each row."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import DataConfig, Dataset, Field, load_language_dataset
from slimjax.data.batches import make_batch
from slimjax.data.dataset import spread_rows
from slimjax.errors import DataError


@pytest.fixture(scope="module", params=["bytes", "sentencepiece"])
def dataset(request, tmp_path_factory) -> Dataset:
    """Returns a dataset of 40 files, whose characters have one to four bytes."""
    folder = tmp_path_factory.mktemp("texts")
    for i in range(40):
        text = f"Verse {i} sings \u2581 汉字 é of {i * i % 97}, 🙂 twice.\n\n" * (
            20 + i
        )
        (folder / f"{i:02d}.txt").write_text(text, encoding="utf-8")
    return load_language_dataset(
        DataConfig(
            f"text:{folder}/*.txt",
            request.param,
            vocab_size=320,
            seq_len=24,
            valid_fraction=0.3,
            test_fraction=0.1,
        )
    )


def test_a_batch_is_that_of_make_batch(dataset):
    rows = dataset.splits["train"]["tokens"]
    for step in (0, 3, 1000):
        batch = dataset.batch("train", step, 5, seed=7)
        assert list(batch) == ["tokens"]
        expected = make_batch(rows, step, 5, seed=7)["tokens"]
        np.testing.assert_array_equal(batch["tokens"], expected)
        assert batch["tokens"].dtype == np.int32


@pytest.mark.parametrize("split", ["valid", "test"])
def test_bytes_and_targets_of_rows_add_up_to_those_of_the_documents(dataset, split):
    counts = dataset.counts
    assert dataset.count("bytes", split) == counts["bytes"][split] > 0
    assert dataset.count("targets", split) == counts["tokens"][split] > 0
    rows = dataset.splits[split]["tokens"]
    for i in range(len(rows)):
        raw = dataset.tokenizer.decode_bytes(rows[i])
        targets = (rows[i] != dataset.special["pad"]).sum()
        assert dataset.count("bytes", split, np.array([i])) == len(raw)
        assert dataset.count("targets", split, np.array([i])) == targets


def test_rows_for_evaluation_are_spread_over_the_whole_split(dataset):
    num_rows = dataset.num_rows("valid")
    chosen = dataset.evaluation_rows("valid", 10, seed=1)
    borders = np.arange(11) * num_rows // 10
    assert ((borders[:-1] <= chosen) & (chosen < borders[1:])).all()
    np.testing.assert_array_equal(chosen, dataset.evaluation_rows("valid", 10, 1))
    assert (chosen != dataset.evaluation_rows("valid", 10, 2)).any()
    for limit in (0, num_rows, num_rows + 1):
        everything = dataset.evaluation_rows("valid", limit, 1)
        np.testing.assert_array_equal(everything, np.arange(num_rows))


@given(st.integers(0, 300), st.integers(0, 300), st.integers(-5, 2**70))
def test_no_row_is_chosen_twice(num_rows, limit, seed):
    chosen = spread_rows(num_rows, limit, seed)
    assert len(chosen) == (min(limit, num_rows) if limit else num_rows)
    assert (np.diff(chosen) > 0).all()
    assert ((chosen >= 0) & (chosen < num_rows)).all()


def test_batches_for_evaluation_have_one_shape_and_fill_up_with_no_target(dataset):
    chosen = dataset.evaluation_rows("valid", 7, seed=0)
    batches = list(dataset.evaluation_batches("valid", chosen, 4))
    assert [batch["tokens"].shape for batch in batches] == [(4, 24), (4, 24)]
    tokens = np.concatenate([batch["tokens"] for batch in batches])
    rows = dataset.splits["valid"]["tokens"][chosen]
    np.testing.assert_array_equal(tokens[:7], rows)
    np.testing.assert_array_equal(tokens[7:], dataset.special["pad"])
    assert list(dataset.evaluation_batches("valid", chosen[:0], 4)) == []


def test_stored_numbers_are_scaled_when_they_are_read(dataset):
    field = Field((2,), "float32", (None,), scale=1 / 127.5, shift=-1.0)
    images = np.array([[0, 255], [51, 102]], np.uint8)
    arrays = {split: {"features": images} for split in dataset.splits}
    pictures = dataclasses.replace(dataset, splits=arrays, fields={"features": field})
    found = pictures.rows("valid", np.array([1, 0]))["features"]
    np.testing.assert_allclose(found, [[-0.6, -0.2], [-1, 1]], atol=1e-6)
    assert found.dtype == np.float32


def test_a_split_without_rows_gives_no_batch(dataset):
    empty = {"tokens": dataset.splits["train"]["tokens"][:0]}
    without = dataclasses.replace(dataset, splits={"train": empty})
    with pytest.raises(DataError, match="no rows"):
        without.batch("train", 0, 4, seed=0)
    with pytest.raises(DataError, match="no tokenizer"):
        _ = dataclasses.replace(dataset, codecs={}).tokenizer
