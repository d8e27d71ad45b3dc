"""Which rows a step takes: each once an epoch, whatever the batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import iterate_rows, make_batch
from slimjax.data.batches import row_indices
from slimjax.errors import DataError


@given(st.integers(1, 20), st.integers(1, 25), st.integers(-5, 2**70))
def test_every_row_comes_once_an_epoch(num_rows, batch_size, seed):
    steps = [row_indices(s, batch_size, num_rows, seed) for s in range(2 * num_rows)]
    stream = np.concatenate(steps)
    for start in range(0, len(stream) - num_rows + 1, num_rows):
        epoch = stream[start : start + num_rows]
        np.testing.assert_array_equal(np.sort(epoch), np.arange(num_rows))


def test_the_order_is_a_function_of_seed_and_place_not_of_the_batch_size():
    small = np.concatenate([row_indices(s, 2, 30, 7) for s in range(30)])
    large = np.concatenate([row_indices(s, 20, 30, 7) for s in range(3)])
    np.testing.assert_array_equal(small, large)
    assert (small[:30] != small[30:]).any()
    assert (small[:30] != row_indices(0, 30, 30, 8)).any()


def test_a_batch_holds_the_rows_of_its_step():
    rows = np.arange(7 * 3, dtype=np.uint16).reshape(7, 3)
    tokens = make_batch(rows, 1, 4, seed=5)["tokens"]
    np.testing.assert_array_equal(tokens, rows[row_indices(1, 4, 7, 5)])
    assert tokens.dtype == np.int32


def test_evaluation_sees_every_row_once_in_batches_of_one_shape():
    rows = np.arange(1, 1 + 7 * 3, dtype=np.uint16).reshape(7, 3)
    batches = [batch["tokens"] for batch in iterate_rows(rows, 4, pad_id=99)]
    assert [batch.shape for batch in batches] == [(4, 3), (4, 3)]
    np.testing.assert_array_equal(np.concatenate(batches)[:7], rows)
    np.testing.assert_array_equal(batches[1][3:], 99)
    assert list(iterate_rows(rows[:0], 4, pad_id=99)) == []


def test_no_rows_give_no_batch():
    with pytest.raises(DataError, match="no rows"):
        make_batch(np.zeros((0, 3), np.uint16), 0, 4, seed=0)
