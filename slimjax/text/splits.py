"""Which documents are in which split: decided by their content alone.

A document's hash is a number in [0, 1); the lowest go to test, the next to valid, the
rest to train. So equal documents never sit in two splits, and a corpus that grows keeps
its held-out documents held out. Only where a small corpus would leave a split empty,
the borders move just far enough to give it one document.

For cross-validation, what is outside test is dealt into parts by a second hash, one of
which is valid (`choose_part`). Test does not depend on the number of parts.
"""

import dataclasses
import hashlib

import numpy as np
from jaxtyping import Float64

from slimjax.errors import DataError

SPLITS: tuple[str, ...] = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class SplitBorders:
    """The two borders on [0, 1) between test, valid and train, in this order.

    Attributes:
        test_below: Where test ends.
        valid_below: Where valid ends, if it is not one of several parts.
        num_folds: Parts of what is outside test; 1 for none.
        fold: The part that is valid.
    """

    test_below: float
    valid_below: float
    num_folds: int = 1
    fold: int = 0

    def choose(self, fraction: float) -> str:
        """Returns the split of a document, given its `hash_to_fraction`."""
        if fraction < self.test_below:
            return "test"
        if self.num_folds > 1:
            is_valid = choose_part(fraction, self.num_folds) == self.fold
        else:
            is_valid = fraction < self.valid_below
        return "valid" if is_valid else "train"

    @property
    def identity(self) -> tuple[float, ...]:
        """What decides, for a fingerprint; without folds the two borders alone."""
        folds = (self.num_folds, self.fold) if self.num_folds > 1 else ()
        return (self.test_below, self.valid_below, *folds)


def choose_part(fraction: float, num_parts: int) -> int:
    """Returns the part of a document, from a hash of its `hash_to_fraction`.

    Examples:
        >>> [choose_part(i / 8, 3) for i in range(8)]
        [2, 0, 0, 2, 0, 0, 2, 2]
    """
    digest = hash_bytes(np.float64(fraction).astype("<f8").tobytes())
    return int.from_bytes(digest[:8], "big") * num_parts >> 64


def hash_document(text: str) -> bytes:
    """Returns the SHA-256 of a document's UTF-8."""
    return hash_bytes(text.encode())


def hash_bytes(data: bytes) -> bytes:
    """Returns the SHA-256 of some bytes."""
    return hashlib.sha256(data).digest()


def hash_to_fraction(digest: bytes) -> float:
    """Returns the first 53 bits of a digest as a number in [0, 1)."""
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def place_folds(
    fractions: Float64[np.ndarray, " N"],
    test_fraction: float,
    num_folds: int,
    fold: int,
) -> SplitBorders:
    """Returns the borders of cross-validation, of which one part is valid.

    Args:
        fractions: `hash_to_fraction` of each document, in any order.
        test_fraction: Share of test, in [0, 0.5).
        num_folds: Parts, 2 or more.
        fold: The part that is valid.

    Raises:
        DataError: If a part has no document.
    """
    test_below = place_borders(fractions, 0.0, test_fraction).test_below
    rest = np.unique(fractions[fractions >= test_below])
    parts = np.array([choose_part(float(f), num_folds) for f in rest])
    check_parts(np.bincount(parts, minlength=num_folds).tolist())
    return SplitBorders(test_below, test_below, num_folds, fold)


def check_parts(counts: list[int]) -> None:
    """Refuses parts of which one is empty.

    Args:
        counts: Different documents of each part.

    Raises:
        DataError: Naming the part.
    """
    if min(counts) == 0:
        raise DataError(
            f"Fold {counts.index(0)} of {len(counts)} has no document: outside the "
            f"test split there are {sum(counts)} different ones. Add text, or take "
            "fewer folds (config.data.num_folds)."
        )


def place_borders(
    fractions: Float64[np.ndarray, " N"], valid_fraction: float, test_fraction: float
) -> SplitBorders:
    """Places the borders so that no split that is asked for stays empty.

    Args:
        fractions: `hash_to_fraction` of each document, in any order.
        valid_fraction: Share of valid, in [0, 0.5).
        test_fraction: Share of test, in [0, 0.5).

    Raises:
        DataError: If there are fewer different documents than splits.
    """
    asked = 1 + (valid_fraction > 0) + (test_fraction > 0)
    different = np.unique(fractions)
    if len(different) < asked:
        raise DataError(
            f"The corpus has {len(different)} different documents for {asked} splits. "
            "Add text, or set config.data.valid_fraction=0 and "
            "config.data.test_fraction=0."
        )
    borders = SplitBorders(test_fraction, test_fraction + valid_fraction)
    wanted = np.array([borders.test_below, borders.valid_below])
    num_test, num_held_out = (int(n) for n in np.searchsorted(different, wanted))
    num_valid = num_held_out - num_test
    fair_test = max(num_test, 1) if test_fraction else 0
    fair_valid = max(num_valid, 1) if valid_fraction else 0
    while fair_test + fair_valid >= len(different):
        if fair_test > fair_valid:
            fair_test -= 1
        else:
            fair_valid -= 1
    if (fair_test, fair_valid) == (num_test, num_valid):
        return borders
    ends = np.array([fair_test, fair_test + fair_valid])
    test_end, valid_end = different[ends].tolist()
    return SplitBorders(test_end, valid_end)
