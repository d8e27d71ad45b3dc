"""Splits: by content alone, and none that is asked for is empty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.errors import DataError
from slimjax.text.splits import (
    SPLITS,
    SplitBorders,
    hash_document,
    hash_to_fraction,
    place_borders,
)

FRACTIONS = st.floats(0.0, 1.0, exclude_max=True)
SHARES = st.floats(0.0, 0.5, exclude_max=True)


@given(st.sets(FRACTIONS, min_size=3, max_size=30), SHARES, SHARES)
def test_every_split_that_is_asked_for_gets_a_document(fractions, valid, test):
    borders = place_borders(np.array(list(fractions)), valid, test)
    chosen = {borders.choose(fraction) for fraction in fractions}
    asked = {"train"} | ({"valid"} if valid else set()) | ({"test"} if test else set())
    assert chosen == asked


def test_a_large_corpus_keeps_the_borders_that_were_asked_for():
    fractions = [hash_to_fraction(hash_document(str(i))) for i in range(2000)]
    borders = place_borders(np.array(fractions), 0.05, 0.1)
    assert borders == SplitBorders(0.1, 0.1 + 0.05)
    counts = {split: 0 for split in SPLITS}
    for fraction in fractions:
        counts[borders.choose(fraction)] += 1
    assert counts["test"] == pytest.approx(200, abs=50)
    assert counts["valid"] == pytest.approx(100, abs=40)


def test_a_hash_depends_on_the_text_alone():
    assert hash_to_fraction(hash_document("汉")) == pytest.approx(0.50382, abs=1e-5)
    assert hash_to_fraction(b"\xff" * 32) < 1.0


def test_equal_documents_are_too_few_for_two_splits():
    with pytest.raises(DataError, match=r"config\.data\.valid_fraction=0"):
        place_borders(np.full(9, 0.3), 0.05, 0.05)
    borders = place_borders(np.full(9, 0.3), 0.0, 0.0)
    assert borders.choose(0.3) == "train"
