"""Code lengths are sums over all rows, or a sample that knows how sure it is."""

import math

import numpy as np
import pytest

from slimjax.run.code_length import measure_code_length

ROWS = np.random.default_rng(0).gamma(2.0, 40.0, (203, 4)).astype(np.uint16)


def nats_of(batch) -> float:
    return float(batch["tokens"].sum())


def test_all_rows_are_summed_up_the_last_batch_too():
    length = measure_code_length(nats_of, ROWS, batch_size=8, seed=0, pad_id=0)
    assert length.bits == pytest.approx(ROWS.sum() / math.log(2))
    assert (length.standard_error, length.rows_measured) == (0.0, 203)


def test_a_sample_is_as_sure_as_it_says():
    truth, misses = ROWS.sum() / math.log(2), []
    for seed in range(200):
        options = dict(max_tokens=8 * 8 * 4, pad_id=0)
        length = measure_code_length(nats_of, ROWS, 8, seed, **options)
        assert length.rows_measured == 64
        misses.append((length.bits - truth) / length.standard_error)
    assert abs(np.mean(misses)) < 0.3
    assert 0.8 < np.std(misses) < 1.4  # Student's, with 7 degrees of freedom: 1.18.


def test_a_batch_that_is_not_full_is_filled_up_with_padding():
    def nats_of_text(batch) -> float:
        return float(np.sum(batch["tokens"] != 7))

    rows = np.where(ROWS == 7, 8, ROWS)
    length = measure_code_length(nats_of_text, rows, 8, seed=0, pad_id=7)
    assert len(rows) % 8
    assert length.bits == pytest.approx(rows.size / math.log(2))


def test_the_error_of_a_sample_is_the_textbooks():
    batches = []

    def keep(batch) -> float:
        batches.append(nats_of(batch) / math.log(2))
        return nats_of(batch)

    length = measure_code_length(keep, ROWS, 8, seed=1, max_tokens=0, pad_id=0)
    one, two = batches
    assert length.bits == pytest.approx((one + two) / 16 * 203)
    expected = abs(one - two) / 2 * 203 / 8 * math.sqrt(1 - 16 / 203)
    assert length.standard_error == pytest.approx(expected)
