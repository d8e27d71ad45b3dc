"""Which example belongs to which split, and which are left out.

Examples whose inputs are equal are copies. Unless the config says otherwise, copies are
in one split, and none of those in a split of its own source is in train.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.errors import DataError
from slimjax.text.examples import Example
from slimjax.text.splits import SPLITS, hash_bytes, hash_to_fraction, place_borders


@dataclasses.dataclass(frozen=True)
class Dealt:
    """Examples by split, and how many were left out.

    Attributes:
        splits: The examples of each split, in the order of the files.
        num_duplicates: Copies left out, and contradictory examples.
        num_copies: Examples left out of train because valid or test has them.
    """

    splits: dict[str, list[Example]]
    num_duplicates: int
    num_copies: int


def hash_inputs(example: Example, inputs: tuple[str, ...]) -> bytes:
    """Returns a hash of what a model reads of an example."""
    parts = []
    for name in inputs:
        parts.append(_to_bytes(example.values[name]))
    sizes = b"".join(len(part).to_bytes(8, "big") for part in parts[1:])
    return hash_bytes(b"".join([*parts, sizes]))


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return json.dumps(value).encode()


def deal(
    pools: Mapping[str, list[Example]], inputs: tuple[str, ...], config: DataConfig
) -> Dealt:
    """Deals examples out to train, valid and test.

    Args:
        pools: Those of ``train``, from which missing splits are drawn, and those of
            splits that have a source of their own.
        inputs: Names of what a model reads.
        config: Fractions, and what becomes of copies.

    Raises:
        DataError: If there are fewer different examples than splits.
    """
    pool, own = pools["train"], {s: p for s, p in pools.items() if s != "train"}
    keys = [hash_inputs(example, inputs) for example in pool]
    num_duplicates = num_copies = 0
    if config.on_duplicate == "keep":
        keys = _number(keys)
    else:
        held_out = {hash_inputs(e, inputs) for part in own.values() for e in part}
        pool, keys, num_copies = _keep(pool, keys, [k not in held_out for k in keys])
    if config.on_duplicate == "drop":
        kept = _are_first(pool, keys, inputs)
        pool, keys, num_duplicates = _keep(pool, keys, kept)
    if not pool:
        raise DataError("No example is left for the train split: valid has them all.")
    shares = {"valid": config.valid_fraction, "test": config.test_fraction}
    fractions = [hash_to_fraction(key) for key in keys]
    borders = place_borders(
        np.array(fractions), *(0.0 if s in own else shares[s] for s in shares)
    )
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example, fraction in zip(pool, fractions, strict=True):
        splits[borders.choose(fraction)].append(example)
    return Dealt(splits | own, num_duplicates, num_copies)


def _number(keys: list[bytes]) -> list[bytes]:
    """Returns keys that are different for copies."""
    seen: Counter[bytes] = Counter()
    numbered = []
    for key in keys:
        number = seen[key]
        numbered.append(hash_bytes(key + number.to_bytes(8, "big")) if number else key)
        seen[key] += 1
    return numbered


def _are_first(
    pool: list[Example], keys: list[bytes], inputs: tuple[str, ...]
) -> list[bool]:
    """Returns which examples are the first of their copies, where all copies agree."""
    answers: dict[bytes, set[tuple]] = {}
    for example, key in zip(pool, keys, strict=True):
        rest = tuple(v for name, v in example.values.items() if name not in inputs)
        answers.setdefault(key, set()).add(rest)
    seen, first = set(), []
    for key in keys:
        first.append(key not in seen and len(answers[key]) == 1)
        seen.add(key)
    return first


def _keep(
    pool: list[Example], keys: list[bytes], kept: list[bool]
) -> tuple[list[Example], list[bytes], int]:
    """Returns the examples that are kept, their keys, and how many are not."""
    chosen = [i for i, keep in enumerate(kept) if keep]
    left_out = len(pool) - len(chosen)
    return [pool[i] for i in chosen], [keys[i] for i in chosen], left_out
