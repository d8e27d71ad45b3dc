"""Batches of few shapes: every row once, nothing of it cut off."""

import numpy as np
import pytest

from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.predict.batches import choose_lengths, make_batches, measure_rows
from slimjax.predict.windows import Pass
from slimjax.text.examples import Example

FIELDS = {
    "tokens": Field((64,), "int32", ("positions",), fill=3),
    "letters": Field((64, 5), "int32", ("positions", None)),
    "number": Field((), "float32", ()),
}


@pytest.fixture
def rows():
    """Returns 50 rows of random lengths; letters go two positions further."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 60, 50)
    there = np.arange(64) < lengths[:, None]
    letters = np.zeros((50, 64, 5), np.int32)
    letters[np.arange(50), lengths + 1, 2] = 7
    tokens = np.where(there, draw.integers(4, 99, (50, 64)), 3)
    return {"tokens": tokens, "letters": letters, "number": np.arange(50.0)}


def test_every_row_comes_once_and_whole(rows):
    sizes = measure_rows(rows, FIELDS)
    lengths = choose_lengths(sizes, 8, 64)
    seen = []
    for batch in make_batches(rows, FIELDS, 8, lengths):
        width = batch.arrays["tokens"].shape[1]
        assert width in lengths
        assert batch.arrays["tokens"].shape == (8, width)
        assert batch.arrays["letters"].shape == (8, width, 5)
        for i, number in enumerate(batch.numbers):
            whole = rows["tokens"][number]
            np.testing.assert_array_equal(batch.arrays["tokens"][i], whole[:width])
            assert (whole[width:] == 3).all()
            assert not rows["letters"][number, width:].any()
            assert batch.arrays["number"][i] == number
        seen += batch.numbers.tolist()
    assert sorted(seen) == list(range(50))


def test_lengths_are_the_best_of_all_choices():
    from itertools import combinations

    draw = np.random.default_rng(1)
    sizes = draw.geometric(0.05, 20 * 16).clip(1, 128)
    most = np.sort(sizes)[::-1][::16]
    cost = lambda own: sum(min(n for n in own if n >= m) for m in most)
    found = choose_lengths(sizes, 16, 128)
    tried = [(*own, 128) for own in combinations(range(8, 128, 8), 4)]
    assert cost(found) == min(map(cost, tried))


def test_few_rows_have_few_lengths():
    assert choose_lengths(np.array([3, 50]), 8, 64) == (56, 64)
    assert choose_lengths(np.array([64]), 8, 64) == (64,)
    assert choose_lengths(np.arange(1, 65), 16, 64) == (32, 64)


def make_column():
    """Returns a column whose row i has i + 1 positions of 64, all of them i + 10."""

    def encode(examples):
        rows = np.full((len(examples), 64), 3, np.int32)
        for row, example in zip(rows, examples, strict=True):
            row[: example.number] = example.number + 9
        return Encoded({"tokens": rows})

    fields = {"tokens": FIELDS["tokens"]}
    return Prepared("tokens", fields, encode, "")


class Computer:
    """Keeps an array by position, and one that has 16 columns whatever is read."""

    def __call__(self, batch):
        tokens = batch["tokens"]
        return {"next": tokens + 1, "scores": np.repeat(tokens[:, :1], 16, axis=1)}

    def shapes(self, batch):
        return self(batch)


@pytest.mark.parametrize("number", [16, 40])
def test_what_is_kept_by_position_has_all_positions(number):
    examples = [Example({}, "", i + 1) for i in range(number)]
    run = Pass([make_column()], {}, Computer(), batch_size=16)
    (window,) = run.over(examples)
    assert run.shapes.lengths[0] == 16 or number > 16
    kept = window.results.kept
    assert kept["scores"].shape == (number, 16)
    assert kept["next"].shape == (number, 64)
    for i in range(number):
        np.testing.assert_array_equal(kept["next"][i, : i + 1], i + 11)
        np.testing.assert_array_equal(kept["scores"][i], i + 10)
