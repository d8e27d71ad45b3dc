"""Which example belongs to which split, and which are left out.

Examples whose inputs are equal are copies. Unless the config says otherwise, copies are
in one split, and none of those in a split of its own source is in train. Examples of
one group are in one split as well (``config.data.group_field``), and so are those of
one image or one context, whatever they ask about it; those in a split of its own source
are not in train either.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.copies import (
    NO_COPIES,
    Copies,
    are_first,
    count_copies,
    hash_inputs,
    join_groups,
    number_copies,
)
from slimjax.data.strata import choose_parts, deal_strata
from slimjax.errors import DataError
from slimjax.text.examples import Example
from slimjax.text.splits import (
    SPLITS,
    check_parts,
    choose_part,
    hash_to_fraction,
    place_borders,
)


@dataclasses.dataclass(frozen=True)
class Dealt:
    """Examples by split, and how many were left out.

    Attributes:
        splits: The examples of each split, in the order of the files.
        copies: How many examples of the pool repeat others, whether they are left out
            or not.
        num_duplicates: Copies left out, and contradictory examples.
        num_contradictory: The contradictory examples among them.
        num_copies: Examples left out of train because valid or test has them.
        shared: What these have in common with valid or test, such as a context; "" for
            all of their input.
    """

    splits: dict[str, list[Example]]
    copies: Copies = NO_COPIES
    num_duplicates: int = 0
    num_contradictory: int = 0
    num_copies: int = 0
    shared: str = ""


def deal(
    pools: Mapping[str, list[Example]],
    inputs: tuple[str, ...],
    config: DataConfig,
    class_of: Callable[[Example], str] | None = None,
    image_of: Callable[[Example], bytes] | None = None,
    *,
    take_apart: Callable[[Example], Example] = lambda example: example,
    shared: str = "",
) -> Dealt:
    """Deals examples out to train, valid and test.

    Args:
        pools: Those of ``train``, from which missing splits are drawn, and those of
            splits that have a source of their own.
        inputs: Names of what a model reads.
        config: Fractions, and what becomes of copies.
        class_of: Returns the class of an example, for splits in which each class has
            its share; by default the hash of the input decides.
        image_of: Returns a name for the pixels of an example; None without images.
        take_apart: Returns an example whose inputs hold nothing of its answer.
        shared: Name of a text, such as a context; examples that have it in common are
            one group where the config names none, and none of those in a split of its
            own source is in train.

    Raises:
        DataError: If there are fewer different examples than splits.
    """
    pool, own = pools["train"], {s: p for s, p in pools.items() if s != "train"}
    key_of = lambda example: hash_inputs(take_apart(example), inputs)
    keys = [key_of(example) for example in pool]
    copies = count_copies([*map(take_apart, pool)], keys, inputs)
    num_duplicates = num_contradictory = num_copies = 0
    shared = "" if config.group_field or config.on_duplicate == "keep" else shared
    if config.on_duplicate != "keep":
        of_shared = lambda example: example.values[shared].encode()
        name_of = image_of or (of_shared if shared else key_of)
        held_out = {name_of(example) for part in own.values() for example in part}
        kept = [name_of(example) not in held_out for example in pool]
        pool, keys, num_copies = _keep(pool, keys, kept)
    if config.on_duplicate == "drop":
        apart = [*map(take_apart, pool)]
        num_contradictory = count_copies(apart, keys, inputs).num_contradictory
        kept = are_first(apart, keys, inputs)
        pool, keys, num_duplicates = _keep(pool, keys, kept)
    if not pool:
        had = f"the {shared} of each" if shared and own else "them all"
        raise DataError(f"No example is left for the train split: valid has {had}.")
    shares = {"test": config.test_fraction, "valid": config.valid_fraction}
    shares |= dict.fromkeys(own, 0.0)
    if config.num_folds > 1:
        shares["valid"] = 0.0
    keys = _join(pool, keys, config, shared, shares)
    if image_of is not None:
        keys = join_groups(keys, [image_of(example).hex() for example in pool])
    places = _place(pool, keys, shares, class_of)
    if config.num_folds > 1:
        places = _hold_out_fold(pool, keys, places, config, class_of)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example, split in zip(pool, places, strict=True):
        splits[split].append(example)
    left_out = num_duplicates, num_contradictory, num_copies
    return Dealt(splits | own, copies, *left_out, shared)


def _join(
    pool: Sequence[Example],
    keys: list[bytes],
    config: DataConfig,
    shared: str,
    shares: Mapping[str, float],
) -> list[bytes]:
    """Returns keys that are equal for examples that stay in one split.

    Raises:
        DataError: If examples have too few different values in common.
    """
    if config.on_duplicate == "keep":
        keys = number_copies(keys)
    if config.group_field:
        return join_groups(keys, [example.group for example in pool])
    if not shared:
        return keys
    groups = [example.values[shared] for example in pool]
    number, asked = len(set(groups)), 1 + sum(share > 0 for share in shares.values())
    if number < asked:
        raise DataError(
            f"Examples of one {shared} are in one split; there are {number} different "
            f"ones for {asked} splits. Add some, or set config.data.on_duplicate=keep."
        )
    return join_groups(keys, groups)


def _place(
    pool: Sequence[Example],
    keys: Sequence[bytes],
    shares: dict[str, float],
    class_of: Callable[[Example], str] | None,
) -> list[str]:
    """Returns the split of each example."""
    fractions = [hash_to_fraction(key) for key in keys]
    borders = place_borders(np.array(fractions), shares["valid"], shares["test"])
    if class_of is not None:
        return deal_strata(keys, [class_of(example) for example in pool], shares)
    return [borders.choose(fraction) for fraction in fractions]


def _hold_out_fold(
    pool: list[Example],
    keys: Sequence[bytes],
    places: list[str],
    config: DataConfig,
    class_of: Callable[[Example], str] | None,
) -> list[str]:
    """Returns the splits with one part of train as valid.

    Raises:
        DataError: If a part has no example.
    """
    rest = [i for i, place in enumerate(places) if place == "train"]
    own = [keys[i] for i in rest]
    num_folds = config.num_folds
    if class_of is None:
        parts = [choose_part(hash_to_fraction(key), num_folds) for key in own]
    else:
        parts = choose_parts(own, [class_of(pool[i]) for i in rest], num_folds)
    different = dict(zip(own, parts, strict=True))
    check_parts(np.bincount([*different.values()], minlength=num_folds).tolist())
    held_out = {i for i, part in zip(rest, parts, strict=True) if part == config.fold}
    return ["valid" if i in held_out else place for i, place in enumerate(places)]


def _keep(
    pool: list[Example], keys: list[bytes], kept: list[bool]
) -> tuple[list[Example], list[bytes], int]:
    """Returns the examples that are kept, their keys, and how many are not."""
    chosen = [i for i, keep in enumerate(kept) if keep]
    left_out = len(pool) - len(chosen)
    return [pool[i] for i in chosen], [keys[i] for i in chosen], left_out
