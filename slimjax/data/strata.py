"""Splits in which each class has its share."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from slimjax.text.splits import choose_part, hash_bytes, hash_to_fraction


def deal_strata(
    keys: Sequence[bytes], classes: Sequence[str], shares: dict[str, float]
) -> list[str]:
    """Returns the split of each example.

    Of the examples of a class those with the lowest hashes go to the first split with
    a share, the next to the second, the others to ``train``. Examples with equal keys
    stay together, as those of the class that most of them have. Of a class with enough
    different keys each split gets at least one.

    Args:
        keys: Equal for examples that stay together.
        classes: The class of each example.
        shares: The share of each split but ``train``, in [0, 0.5).

    Examples:
        >>> keys = [bytes([i]) * 32 for i in range(10)]
        >>> deal_strata(keys, ["a", "b"] * 5, {"test": 0.2, "valid": 0.0})
        ... # doctest: +NORMALIZE_WHITESPACE
        ['test', 'test', 'train', 'train', 'train', 'train', 'train', 'train',
         'train', 'train']
    """
    votes, strata = _find_strata(keys, classes)
    split_of: dict[bytes, str] = {}
    for members in strata.values():
        ordered = sorted(members, key=lambda key: (hash_to_fraction(key), key))
        sizes = [votes[key].total() for key in ordered]
        for key, split in zip(ordered, _deal_one(sizes, shares), strict=True):
            split_of[key] = split
    return [split_of[key] for key in keys]


def choose_parts(
    keys: Sequence[bytes], classes: Sequence[str], num_parts: int
) -> list[int]:
    """Returns the part of each example, so that each class has its share in each part.

    The keys of a class are put in the order of a second hash and dealt out one by one.
    Examples with equal keys stay together.

    Args:
        keys: Equal for examples that stay together.
        classes: The class of each example.
        num_parts: Number of parts.

    Examples:
        >>> keys = [bytes([i]) * 32 for i in range(8)]
        >>> parts = choose_parts(keys, ["a", "b"] * 4, 2)
        >>> [parts[0::2].count(0), parts[1::2].count(0)]
        [2, 2]
    """
    part_of: dict[bytes, int] = {}
    for name, members in _find_strata(keys, classes)[1].items():
        order = lambda key: (choose_part(hash_to_fraction(key), 1 << 53), key)
        first = choose_part(hash_to_fraction(hash_bytes(name.encode())), num_parts)
        for place, key in enumerate(sorted(members, key=order)):
            part_of[key] = (first + place) % num_parts
    return [part_of[key] for key in keys]


def _find_strata(
    keys: Sequence[bytes], classes: Sequence[str]
) -> tuple[dict[bytes, Counter[str]], dict[str, list[bytes]]]:
    """Returns how often each key has each class, and the keys of each class."""
    votes: dict[bytes, Counter[str]] = defaultdict(Counter)
    for key, name in zip(keys, classes, strict=True):
        votes[key][name] += 1
    strata: dict[str, list[bytes]] = defaultdict(list)
    for key, counts in votes.items():
        most = max(counts.values())
        strata[min(name for name, n in counts.items() if n == most)].append(key)
    return votes, strata


def _deal_one(sizes: list[int], shares: dict[str, float]) -> list[str]:
    """Returns the splits of parts of one class, of these sizes, in their order."""
    asked = {split: share for split, share in shares.items() if share}
    total, places, start = sum(sizes), ["train"] * len(sizes), 0
    for split, share in asked.items():
        wanted, taken = round(share * total), 0
        left_for = len(sizes) - start
        if left_for < 2:  # The last part is for train.
            break
        while start < len(sizes) - 1 and (taken == 0 or taken + sizes[start] <= wanted):
            places[start] = split
            taken += sizes[start]
            start += 1
    return places
