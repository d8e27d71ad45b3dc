"""Splits: copies and groups stay together, classes have their shares."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data import DataConfig
from slimjax.data.dealing import deal
from slimjax.errors import DataError
from slimjax.text.examples import Example

SPLITS = ("train", "valid", "test")


def make(text, label="a", group=""):
    return Example({"text": text, "label": label}, "a.jsonl", 1, group=group)


def deal_out(pool, class_of=None, own=None, **changes):
    config = DataConfig(**({"valid_fraction": 0.2, "test_fraction": 0.2} | changes))
    return deal({"train": pool} | (own or {}), ("text",), config, class_of)


def texts_of(dealt):
    return {s: [e.values["text"] for e in dealt.splits[s]] for s in SPLITS}


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=9)


@given(PAIRS, st.sampled_from(["group", "drop"]), st.booleans())
def test_a_group_and_a_text_are_in_one_split(pairs, on_duplicate, stratify):
    pool = [make(str(t), str(t % 3), f"g{g}") for t, g in pairs]
    class_of = (lambda example: example.values["label"]) if stratify else None
    changes = {"group_field": "g", "on_duplicate": on_duplicate}
    try:
        dealt = deal_out(pool, class_of, **changes)
    except DataError:  # All of them belong together.
        return
    for name in ("group", "text"):
        of = lambda e, name=name: e.group if name == "group" else e.values["text"]
        found = [{of(e) for e in dealt.splits[split]} for split in SPLITS]
        assert not any(found[i] & found[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert dealt.splits["train"]
    number = sum(map(len, dealt.splits.values()))
    assert number == len({t for t, _ in pairs} if on_duplicate == "drop" else pairs)


def test_groups_are_split_whatever_the_order_of_the_examples():
    pool = [make(f"{i}", group=f"g{i % 40}") for i in range(400)]
    dealt, turned = (deal_out(p, group_field="g") for p in (pool, pool[::-1]))
    assert {s: sorted(t) for s, t in texts_of(dealt).items()} == {
        s: sorted(t) for s, t in texts_of(turned).items()
    }
    assert all(len(dealt.splits[split]) % 10 == 0 for split in SPLITS)
    assert 20 < len(dealt.splits["test"]) < 160


def test_copies_are_split_apart_only_if_they_may_be():
    pool = [make(f"{i % 40}", group=f"g{i}") for i in range(400)]
    kept = deal_out(pool, group_field="g", on_duplicate="keep")
    assert set(texts_of(kept)["train"]) & set(texts_of(kept)["test"])


def test_each_class_has_its_share_in_each_split():
    labels = ["a"] * 100 + ["b"] * 10 + ["c"] * 3 + ["d"]
    pool = [make(f"{i}", label) for i, label in enumerate(labels)]
    by_class = deal_out(pool, lambda example: example.values["label"])
    counts = {s: Counter(e.values["label"] for e in by_class.splits[s]) for s in SPLITS}
    assert counts["test"] == {"a": 20, "b": 2, "c": 1}
    assert counts["valid"] == {"a": 20, "b": 2, "c": 1}
    assert counts["train"] == {"a": 60, "b": 6, "c": 1, "d": 1}
    again = deal_out(pool[::-1], lambda example: example.values["label"])
    assert {s: sorted(t) for s, t in texts_of(again).items()} == {
        s: sorted(t) for s, t in texts_of(by_class).items()
    }


def test_copies_and_contradictions_are_counted_and_dropped_if_asked():
    pool = [make(f"{i}") for i in range(30)]
    pool += [make("0"), make("1", "b"), make("1", "c"), make("2", "b")]
    grouped, dropped = deal_out(pool), deal_out(pool, on_duplicate="drop")
    for dealt in (grouped, dropped):
        assert dealt.copies.num_duplicates == 4
        assert dealt.copies.num_contradictions == 2
        assert dealt.copies.num_contradictory == 5
    assert (grouped.num_duplicates, grouped.num_contradictory) == (0, 0)
    assert (dropped.num_duplicates, dropped.num_contradictory) == (6, 5)
    found = [text for texts in texts_of(dropped).values() for text in texts]
    assert sorted(found, key=int) == ["0", *map(str, range(3, 30))]


def test_copies_of_held_out_files_leave_train_and_nothing_else_moves():
    pool = [make(f"{i}") for i in range(30)]
    own = {"valid": [make("0"), make("0"), make("x")], "test": [make("1", "b")]}
    dealt = deal_out([*pool, make("0")], own=own)
    assert texts_of(dealt)["valid"] == ["0", "0", "x"]
    assert texts_of(dealt)["test"] == ["1"]
    assert texts_of(dealt)["train"] == [f"{i}" for i in range(2, 30)]
    assert dealt.num_copies == 3
    with pytest.raises(DataError, match="valid has them all"):
        deal_out([make("0")], own=own)


@given(PAIRS, st.booleans(), st.integers(2, 4))
def test_each_example_outside_test_is_held_out_in_one_fold(pairs, stratify, num_folds):
    pool = [make(str(t), str(t % 3), f"g{g}") for t, g in pairs]
    class_of = (lambda example: example.values["label"]) if stratify else None
    try:
        plain = texts_of(deal_out(pool, class_of, valid_fraction=0.0))
        folds = [
            texts_of(deal_out(pool, class_of, num_folds=num_folds, fold=i))
            for i in range(num_folds)
        ]
    except DataError:  # Too few of them for so many parts.
        return
    assert all(fold["test"] == plain["test"] for fold in folds)
    assert all(not {*fold["valid"]} & {*fold["train"]} for fold in folds)
    held_out = sorted(text for fold in folds for text in fold["valid"])
    assert held_out == sorted(plain["train"])


def test_each_class_has_its_share_in_each_fold():
    pool = [make(str(i), "rare" if i % 10 == 0 else "usual") for i in range(100)]
    class_of = lambda example: example.values["label"]
    for fold in range(4):
        changes = {"test_fraction": 0.2, "num_folds": 4, "fold": fold}
        dealt = deal_out(pool, class_of, **changes)
        counts = Counter(class_of(example) for example in dealt.splits["valid"])
        assert counts == {"rare": 2, "usual": 18}


def test_groups_are_not_torn_by_folds():
    pool = [make(str(i), group=f"g{i % 12}") for i in range(120)]
    for fold in range(3):
        changes = {"group_field": "g", "num_folds": 3, "fold": fold}
        splits = deal_out(pool, **changes).splits
        groups = {split: {e.group for e in splits[split]} for split in SPLITS}
        assert not groups["valid"] & (groups["train"] | groups["test"])


def test_equal_answers_of_two_domains_are_no_contradiction():
    both = [(str(i), domain) for i in range(40) for domain in ("a", "b")]
    pool = [make(text) for text, _ in both] + [make(f"b{i}") for i in range(5)]
    for example, (_, domain) in zip(pool, both + [("", "b")] * 5, strict=True):
        example.values["domain"] = domain
    dealt = deal_out(pool, on_duplicate="drop")
    assert (dealt.num_duplicates, dealt.num_contradictory) == (40, 0)
    assert sum(map(len, dealt.splits.values())) == 45
