"""From a config, and what a task reads, to rows of labelled examples.

Files are read once, and all examples are held in memory. Their rows are kept in the
cache under a hash of all that determines them.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.columns import (
    Prepared,
    prepare_features,
    prepare_label,
    prepare_text,
)
from slimjax.data.config import DataConfig
from slimjax.data.dataset import Codec, Dataset
from slimjax.data.dealing import Dealt, deal, hash_inputs
from slimjax.data.labels import Labels, count_labels
from slimjax.data.pools import read_pools
from slimjax.data.scaling import Scaling, choose_scaling
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
from slimjax.text.examples import Example, refuse_or_skip
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.sample import PassageSample
from slimjax.text.skips import Skips
from slimjax.text.sources import name_sources
from slimjax.text.splits import SPLITS
from slimjax.text.survey import Progress

FORMAT = 1  # Part of every fingerprint: other rows of the same examples count it up.
Splits = dict[str, list[Example]]


def load_labelled_dataset(
    config: DataConfig,
    kinds: Mapping[str, str],
    *,
    codecs: Mapping[str, Codec] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Reads labelled examples, or finds their rows in the cache.

    A text becomes the field ``tokens``, int32 ``[T]``: bos, the text, eos, padding.
    Features become float32 ``[F]``, a label an int32 number; both keep their names.

    Args:
        config: What to read, and how.
        kinds: What the task reads: names and kinds (see `slimjax.text.examples`), such
            as ``{"text": "text", "label": "label"}``.
        codecs: Those of a dataset that was loaded before, for more of its kind.
        all_valid: Whether every example is held out, in the split ``valid``.
        progress: Called with a stage, ``read``, ``tokenizer`` or ``encode``, and the
            fraction of it that is done.

    Raises:
        ConfigError: If the settings do not fit the task or the files.
        DataError: If examples are missing, unreadable or too few.
    """
    report = progress or (lambda *_: None)
    skips, inputs = Skips(), tuple(n for n, k in kinds.items() if k != "label")
    pools = read_pools(config, kinds, skips, only_source=all_valid)
    report("read", 1.0)
    if all_valid:
        dealt = Dealt({"train": [], "valid": pools["train"], "test": []}, 0, 0)
    else:
        dealt = deal(pools, inputs, config)
    columns = _prepare(config, kinds, dealt.splits, codecs or {}, skips, report)
    splits = dealt.splits
    hashes = [_hash_examples(splits[split]) for split in SPLITS]
    fingerprint = hash_json(
        FORMAT, hashes, [[column.name, column.fingerprint] for column in columns]
    )

    def build(folder: Path) -> Info:
        return _write(folder, columns, splits, report)

    def load(folder: Path, info: Info) -> Dataset:
        merge = lambda key: {k: v for c in columns for k, v in getattr(c, key).items()}
        counts = _count(dealt, skips, inputs) | info
        return Dataset(
            splits={s: {c.name: _open(folder, s, c) for c in columns} for s in SPLITS},
            fields={column.name: column.field for column in columns},
            sizes=merge("sizes"),
            lengths=merge("lengths"),
            special=merge("special"),
            counts=counts,
            row_counts={s: _count_rows(splits[s], inputs) for s in SPLITS},
            fingerprint=fingerprint,
            source=name_sources(config.source),
            codecs={c.name: c.codec for c in columns if c.codec is not None},
            notes=_write_notes(config, dealt, columns, skips, counts),
        )

    dataset = open_entry(f"labelled-{fingerprint[:32]}", build, load)
    report("encode", 1.0)
    return dataset


def _prepare(
    config: DataConfig,
    kinds: Mapping[str, str],
    splits: Splits,
    codecs: Mapping[str, Codec],
    skips: Skips,
    report: Progress,
) -> list[Prepared]:
    """Returns the columns; takes examples with unknown labels out of `splits`."""
    columns: dict[str, Prepared] = {}
    train = splits["train"]
    for name, kind in sorted(kinds.items(), key=lambda item: item[1] != "label"):
        if kind == "label":
            labels = cast(Labels | None, codecs.get(name))
            labels = labels or count_labels(Counter(e.values[name] for e in train))
            _check_labels(config, name, labels, splits, skips)
            columns[name] = prepare_label(name, labels)
        elif kind == "text":
            tokenizer = cast(Tokenizer | None, codecs.get("tokens"))
            passages = [] if tokenizer else _sample(train, name)
            tokenizer = tokenizer or choose_tokenizer(config, passages, report)
            columns[name] = prepare_text(name, tokenizer, config)
        else:
            scaling, note = cast(Scaling | None, codecs.get(name)), ""
            if scaling is None:
                features = [example.values[name] for example in train]
                scaling, note = choose_scaling(features, config.normalize)
            everything = [example for split in SPLITS for example in splits[split]]
            columns[name] = prepare_features(name, everything, scaling, note)
    return [columns[name] for name in kinds]


def _check_labels(
    config: DataConfig, name: str, labels: Labels, splits: Splits, skips: Skips
) -> None:
    """Refuses, or takes out, examples of a class that train does not have."""
    for split in ("valid", "test"):
        kept = []
        for example in splits[split]:
            label = example.values[name]
            if label in labels:
                kept.append(example)
                continue
            message = (
                f"{example.where}: no example of the train split has the label "
                f"{show(label)}. {labels.suggest(label)}"
            )
            bad = BadDocument("unknown_label", message, example.path)
            refuse_or_skip(bad, config.on_bad_example, skips)
        splits[split] = kept


def _sample(examples: list[Example], name: str) -> list[str]:
    """Returns text to train a tokenizer on."""
    sample = PassageSample()
    for example in examples:
        sample.add(example.values[name], 0.0)
    return [passage for passage, _ in sample.passages()]


def _write(
    folder: Path, columns: list[Prepared], splits: Splits, report: Progress
) -> Info:
    """Encodes all examples into files, and returns the counts of the columns."""
    info: Info = {}
    for split in SPLITS:
        for column in columns:
            rows, counts = column.encode(splits[split])
            np.save(folder / f"{split}.{column.name}.npy", rows)
            for what, number in counts.items():
                info.setdefault(what, {})[split] = int(number)
        report("encode", (SPLITS.index(split) + 1) / len(SPLITS))
    return info


def _open(folder: Path, split: str, column: Prepared) -> np.ndarray:
    path = folder / f"{split}.{column.name}.npy"
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _hash_examples(examples: list[Example]) -> str:
    """Returns a hash of all values of examples, in their order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(hash_inputs(example, tuple(example.values)))
    return digest.hexdigest()


def _count_rows(examples: list[Example], inputs: tuple[str, ...]) -> dict[str, Any]:
    """Returns the bytes of text and the targets of each row."""
    sizes = [
        sum(_num_bytes(example.values[name]) for name in inputs) for example in examples
    ]
    targets = np.ones(len(examples), np.int64)
    return {"bytes": np.array(sizes, np.int64), "targets": targets}


def _num_bytes(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else 0


def _count(dealt: Dealt, skips: Skips, inputs: tuple[str, ...]) -> dict[str, Any]:
    """Returns the counts of a dataset that do not depend on its encoding."""
    splits = dealt.splits
    sizes = {s: int(_count_rows(splits[s], inputs)["bytes"].sum()) for s in SPLITS}
    return {
        "examples": {split: len(splits[split]) for split in SPLITS},
        "bytes": sizes,
        "skipped": dict(skips.reasons),
        "duplicates": dealt.num_duplicates,
        "copies_left_out": dealt.num_copies,
    }


def _write_notes(
    config: DataConfig,
    dealt: Dealt,
    columns: list[Prepared],
    skips: Skips,
    counts: Mapping[str, Any],
) -> tuple[str, ...]:
    """Returns what a user should know of the data, one line each."""
    notes = [skips.describe("config.data.on_bad_example", "examples")]
    if dealt.num_copies:
        notes.append(
            f"Left out of train: {dealt.num_copies:,} copies of valid or test examples."
        )
    if dealt.num_duplicates:
        notes.append(
            f"config.data.on_duplicate=drop left out {dealt.num_duplicates:,} examples."
        )
    cut = counts.get("cut", {})
    if any(cut.values()):
        parts = [
            f"{number:,} of {counts['examples'][split]:,} in {split}"
            for split, number in cut.items()
            if number
        ]
        notes.append(
            f"Longer than config.data.seq_len={config.seq_len} tokens, and cut: "
            f"{', '.join(parts)}."
        )
    return tuple(note for note in [*notes, *(c.note for c in columns)] if note)
