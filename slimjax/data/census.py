"""What there is of labelled examples: counts for the report, notes for the user."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimjax.data.config import DataConfig
from slimjax.data.dealing import Dealt
from slimjax.data.encoding import Prepared
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.skips import Skips
from slimjax.text.splits import SPLITS

CLASSES = ("label", "labels")
"""Kinds of values that name classes."""
NUM_NAMED = 5


def count_examples(
    dealt: Dealt, skips: Skips, inputs: tuple[str, ...]
) -> dict[str, Any]:
    """Returns the counts of a dataset that do not depend on its encoding."""
    splits = dealt.splits
    return {
        "examples": {split: len(splits[split]) for split in SPLITS},
        "bytes": {s: sum(count_bytes(e, inputs) for e in splits[s]) for s in SPLITS},
        "skipped": dict(skips.reasons),
        "repeated": dealt.copies.num_duplicates,
        "contradictions": dealt.copies.num_contradictions,
        "duplicates": dealt.num_duplicates,
        "contradictory_left_out": dealt.num_contradictory,
        "copies_left_out": dealt.num_copies,
    }


def count_bytes(example: Example, inputs: tuple[str, ...]) -> int:
    """Returns the UTF-8 bytes of what a model reads of an example."""
    return sum(_num_bytes(example.values.get(name)) for name in inputs)


def count_classes(examples: Iterable[Example], name: str) -> Counter[str]:
    """Returns how many examples each class has, most frequent first."""
    counts: Counter[str] = Counter()
    for example in examples:
        value = example.values[name]
        counts.update([value] if isinstance(value, str) else value)
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def write_notes(
    config: DataConfig,
    kinds: Mapping[str, str],
    dealt: Dealt,
    columns: Sequence[Prepared],
    skips: Skips,
    counts: Mapping[str, Any],
) -> tuple[str, ...]:
    """Returns what a user should know of the data, one line each."""
    notes = [
        skips.describe("config.data.on_bad_example", "examples"),
        *_note_copies(dealt),
        *(_note_classes(dealt, name) for name, k in kinds.items() if k in CLASSES),
        _note_cut(config, counts),
        *(column.note for column in columns),
    ]
    return tuple(note for note in notes if note)


def _note_copies(dealt: Dealt) -> list[str]:
    notes = []
    if dealt.num_copies:
        notes.append(
            f"Left out of train: {dealt.num_copies:,} copies of valid or test examples."
        )
    if dealt.num_duplicates:
        contradictory = dealt.num_contradictory
        some = f", {contradictory:,} of them contradictory" if contradictory else ""
        notes.append(
            f"config.data.on_duplicate=drop left out {dealt.num_duplicates:,} examples"
            f"{some}."
        )
    elif dealt.copies.num_contradictions:
        notes.append(
            f"{dealt.copies.num_contradictions:,} inputs have different answers in "
            f"{dealt.copies.num_contradictory:,} examples; "
            "config.data.on_duplicate=drop leaves them out."
        )
    return notes


def _note_classes(dealt: Dealt, name: str) -> str:
    """Returns which classes of train a held-out split has no example of."""
    classes = {
        split: count_classes(examples, name)
        for split, examples in dealt.splits.items()
        if examples
    }
    parts = []
    for split in classes:
        missing = [
            each for each in classes.get("train", ()) if each not in classes[split]
        ]
        if missing:
            names = ", ".join(map(show, missing[:NUM_NAMED]))
            more = len(missing) - NUM_NAMED
            parts.append(f"{split} has no {names}{f' and {more:,} more' * (more > 0)}")
    return f"Classes without an example: {'; '.join(parts)}." if parts else ""


def _note_cut(config: DataConfig, counts: Mapping[str, Any]) -> str:
    parts = [
        f"{number:,} of {counts['examples'][split]:,} in {split}"
        for split, number in counts.get("cut", {}).items()
        if number
    ]
    if not parts:
        return ""
    return (
        f"Longer than config.data.seq_len={config.seq_len} tokens, and cut: "
        f"{', '.join(parts)}."
    )


def _num_bytes(value: Any) -> int:
    """Returns the UTF-8 bytes of a text, or of a list of texts."""
    if isinstance(value, list | tuple):
        return sum(_num_bytes(part) for part in value)
    return len(value.encode()) if isinstance(value, str) else 0
