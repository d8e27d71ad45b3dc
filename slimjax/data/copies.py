"""Copies among examples: those with equal inputs, and whether their answers agree."""

import dataclasses
import json
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from slimjax.data.outline import DOMAIN
from slimjax.text.examples import Example
from slimjax.text.source_images import SourceImage
from slimjax.text.splits import hash_bytes


@dataclasses.dataclass(frozen=True)
class Copies:
    """How many examples repeat others.

    Attributes:
        num_duplicates: Examples whose input comes before, too.
        num_contradictions: Different inputs that have different answers.
        num_contradictory: Examples with such an input.
    """

    num_duplicates: int
    num_contradictions: int
    num_contradictory: int


NO_COPIES = Copies(0, 0, 0)


def hash_inputs(example: Example, inputs: tuple[str, ...]) -> bytes:
    """Returns a hash of what a model reads of an example."""
    parts = [to_bytes(example.values[name]) for name in inputs]
    sizes = b"".join(len(part).to_bytes(8, "big") for part in parts[1:])
    return hash_bytes(b"".join([*parts, sizes]))


def to_bytes(value: Any) -> bytes:
    """Returns the bytes of a value of an example, equal for equal values only."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, SourceImage):
        return value.digest
    return json.dumps(value).encode()


def count_copies(
    examples: Sequence[Example], keys: Sequence[bytes], inputs: tuple[str, ...]
) -> Copies:
    """Returns how many examples repeat others.

    Args:
        examples: The examples.
        keys: `hash_inputs` of each.
        inputs: Names of what a model reads; what else an example has is its answer,
            but for its domain.
    """
    sizes, answers = Counter(keys), _collect_answers(examples, keys, inputs)
    contradictions = [key for key, found in answers.items() if len(found) > 1]
    return Copies(
        num_duplicates=len(keys) - len(sizes),
        num_contradictions=len(contradictions),
        num_contradictory=sum(sizes[key] for key in contradictions),
    )


def are_first(
    examples: Sequence[Example], keys: Sequence[bytes], inputs: tuple[str, ...]
) -> list[bool]:
    """Returns which examples are the first of their copies, where all copies agree."""
    answers = _collect_answers(examples, keys, inputs)
    seen: set[bytes] = set()
    first = []
    for key in keys:
        first.append(key not in seen and len(answers[key]) == 1)
        seen.add(key)
    return first


def number_copies(keys: Sequence[bytes]) -> list[bytes]:
    """Returns keys that are different for copies."""
    seen: Counter[bytes] = Counter()
    numbered = []
    for key in keys:
        number = seen[key]
        numbered.append(hash_bytes(key + number.to_bytes(8, "big")) if number else key)
        seen[key] += 1
    return numbered


def join_groups(keys: Sequence[bytes], groups: Sequence[str]) -> list[bytes]:
    """Returns keys that are equal for examples that belong together.

    Those of one group do, and so do groups that have an input in common.

    Args:
        keys: `hash_inputs` of each example.
        groups: The group of each.

    Examples:
        >>> a, b, c, d = join_groups([b"1", b"2", b"2", b"3"], ["x", "x", "y", "z"])
        >>> a == b == c, c == d
        (True, False)
    """
    parent: dict[Hashable, Hashable] = {}

    def find(one: Hashable) -> Hashable:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for key, group in zip(keys, groups, strict=True):
        parent[find(key)] = find(group)
    # The lowest hash of its groups stands for all: it depends on no order.
    names: dict[Hashable, bytes] = {}
    for group in dict.fromkeys(groups):
        root, name = find(group), hash_bytes(group.encode())
        names[root] = min(names.get(root, name), name)
    return [names[find(group)] for group in groups]


def _collect_answers(
    examples: Sequence[Example], keys: Sequence[bytes], inputs: tuple[str, ...]
) -> dict[bytes, set[bytes]]:
    """Returns the different answers to each input; a domain is part of none."""
    answers: dict[bytes, set[bytes]] = {}
    no_answer = {*inputs, DOMAIN}
    for example, key in zip(examples, keys, strict=True):
        rest = [v for name, v in example.values.items() if name not in no_answer]
        answers.setdefault(key, set()).add(b"\0".join(map(to_bytes, rest)))
    return answers
