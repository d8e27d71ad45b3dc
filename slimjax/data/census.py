"""What there is of labelled examples: counts for the report, notes for the user."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimjax.data.config import DataConfig
from slimjax.data.dealing import Dealt
from slimjax.data.encoding import Prepared
from slimjax.paths import user_path
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.image_folders import count_others
from slimjax.text.skips import Skips
from slimjax.text.sources import parse_sources
from slimjax.text.splits import SPLITS

CLASSES = ("label", "labels")
"""Kinds of values that name classes."""
NAMED = {
    **dict.fromkeys(CLASSES, "Classes"),
    "tags": "Tags",
    "entities": "Types of entities",
    "choices": "Choices",
}
"""Kinds of values whose names are counted, and what these are."""
CUT = {"cut": "Longer", "cut_targets": "Targets longer"}
"""Counts of examples that lost tokens, and how a sentence about them begins."""
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
    """Returns how often each class, tag, choice or type is there, most frequent first.

    Args:
        examples: Have the value.
        name: That of a value of one of the kinds of `NAMED`.
    """
    counts: Counter[str] = Counter()
    for example in examples:
        value = example.values[name]
        parts = [value] if isinstance(value, str) else value
        counts.update(str(p[-1]) if isinstance(p, tuple) else str(p) for p in parts)
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
        *(_note_classes(dealt, n, NAMED[k]) for n, k in kinds.items() if k in NAMED),
        *(_note_cut(config, counts, what) for what in CUT),
        *_note_other_files(config),
        *(column.note for column in columns),
    ]
    return tuple(note for note in notes if note)


def _note_copies(dealt: Dealt) -> list[str]:
    notes = []
    if dealt.num_copies:
        what = f"examples with a {dealt.shared}" if dealt.shared else "copies"
        notes.append(
            f"Left out of train: {dealt.num_copies:,} {what} of valid or test examples."
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


def _note_classes(dealt: Dealt, name: str, what: str) -> str:
    """Returns which classes of train a held-out split has no example of.

    Args:
        dealt: The examples.
        name: That of the value.
        what: Its classes, for people.
    """
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
    return f"{what} without an example: {'; '.join(parts)}." if parts else ""


def _note_cut(config: DataConfig, counts: Mapping[str, Any], what: str) -> str:
    """Returns how many examples of each split lost tokens; "" if none did."""
    parts = [
        f"{number:,} of {counts['examples'][split]:,} in {split}"
        for split, number in counts.get(what, {}).items()
        if number
    ]
    has_own = what == "cut_targets" and config.target_len
    limit = "target_len" if has_own else "seq_len"
    limit = f"config.data.{limit}={getattr(config, limit)}"
    cut = f"{CUT[what]} than {limit} tokens, and cut: {', '.join(parts)}."
    return cut if parts else ""


def _note_other_files(config: DataConfig) -> list[str]:
    """Returns how many files beside the images of each folder are not read."""
    names = (config.source, config.valid_source, config.test_source)
    sources = [source for each in names if each for source in parse_sources(each)]
    notes = []
    for pattern in (s.pattern for s in sources if s.scheme == "images"):
        counts = count_others(user_path(pattern, "config.data.source"))
        if counts:
            parts = ", ".join(f"{n:,} {show(end)}" for end, n in counts.most_common())
            total = f"{counts.total():,} files that are no images by their ending"
            notes.append(f"images:{show(pattern)} has {total}, left out: {parts}.")
    return notes


def _num_bytes(value: Any) -> int:
    """Returns the UTF-8 bytes of a text, or of a list of texts."""
    if isinstance(value, list | tuple):
        return sum(_num_bytes(part) for part in value)
    return len(value.encode()) if isinstance(value, str) else 0
