"""From a config, and what a task reads, to rows of labelled examples.

Files are read once, and all examples are held in memory. Their rows are kept in the
cache under a hash of all that determines them.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.data.buckets import Buckets, make_buckets
from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.census import count_bytes, count_examples, write_notes
from slimjax.data.config import DataConfig
from slimjax.data.copies import hash_inputs
from slimjax.data.dataset import Codec, Dataset
from slimjax.data.domains import names_of
from slimjax.data.encoding import (
    Encoded,
    Prepared,
    encode_examples,
    find_unencodable,
)
from slimjax.data.gathering import Gathered, gather
from slimjax.data.image_table import IMAGE
from slimjax.data.mixture import make_mixture
from slimjax.data.outline import DOMAIN, POSITIONS, Field
from slimjax.data.reads import READS
from slimjax.data.rows_of_images import RowsOfImages
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import Example
from slimjax.text.skips import Skips
from slimjax.text.sources import name_sources
from slimjax.text.splits import SPLITS
from slimjax.text.survey import Progress

FORMAT = 1  # Part of every fingerprint: other rows of the same examples count it up.
ROWS_FORMAT = 2  # Part of a name in the cache: other files of the same rows count up.
OF_EXAMPLES, OF_TARGETS = "row_example", "row_targets"
"""Names of files of what stands beside rows: their examples and numbers of targets."""

Splits = dict[str, list[Example]]


def load_labelled_dataset(
    config: DataConfig,
    schema: Schema | Mapping[str, str],
    *,
    codecs: Mapping[str, Codec] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Reads labelled examples, or finds their rows in the cache.

    A text becomes the field ``tokens``, int32 ``[T]``: bos, the text, eos, padding.
    Features become float32 ``[F]``, a label an int32 number; both keep their names. A
    task may prepare other columns (see `Schema.prepare`).

    Args:
        config: What to read, and how.
        schema: What the task reads: names and kinds (see `slimjax.text.kinds`), such
            as ``{"text": "text", "label": "label"}``, or a `Schema`.
        codecs: Those of a dataset that was loaded before, for more of its kind.
        all_valid: Whether every example is held out, in the split ``valid``.
        progress: Called with a stage, ``read``, ``tokenizer`` or ``encode``, and the
            fraction of it that is done.

    Raises:
        ConfigError: If the settings do not fit the task or the files.
        DataError: If examples are missing, unreadable or too few.
    """
    schema = schema if isinstance(schema, Schema) else Schema(dict(schema))
    report, skips, codecs = progress or (lambda *_: None), Skips(), codecs or {}
    again = functools.partial(gather, config, schema, codecs, all_valid=all_valid)
    found = again(skips, report)
    splits, columns = found.dealt.splits, found.columns
    hashes = [_hash_examples(splits[split]) for split in SPLITS]
    made = [[column.name, column.fingerprint] for column in columns]
    fingerprint = hash_json(FORMAT, hashes, made)

    def load(folder: Path, info: Info) -> Dataset:
        merge = lambda key: {k: v for c in columns for k, v in getattr(c, key).items()}
        counts = count_examples(found.dealt, skips, schema.inputs) | info
        fields, own = merge("fields"), {READS: found.reads} if schema.optional else {}
        arrays = {split: _open_all(folder, split) for split in SPLITS}
        names = ("sizes", "lengths", "special", "tables")
        merged: dict[str, Any] = {key: merge(key) for key in names}
        count = functools.partial(_count_rows, folder, inputs=schema.inputs)
        return Dataset(
            splits=arrays,
            fields=fields,
            **merged,
            counts=counts,
            row_counts={split: count(split, splits[split]) for split in SPLITS},
            fingerprint=fingerprint,
            source=name_sources(config.source),
            codecs=merge("codecs") | own,
            notes=write_notes(config, found.kinds, found.dealt, columns, skips, counts),
            read_examples=functools.partial(_read_again, config, hashes, again),
            kinds=found.kinds,
            encode=functools.partial(encode_examples, columns),
            buckets=_choose_buckets(config, fields, arrays["train"]),
        )

    dataset = open_entry(
        _name_rows(fingerprint, columns),
        lambda folder: _write(folder, columns, splits, report),
        load,
    )
    report("encode", 1.0)
    return dataset if all_valid else _order(config, dataset)


def _name_rows(fingerprint: str, columns: list[Prepared]) -> str:
    """Returns the name of rows in the cache.

    Rows may hold numbers of a table, and these depend on all that is in the table, not
    on the examples of the splits alone.
    """
    numberings = [column.numbering for column in columns if column.numbering]
    own = hash_json(fingerprint, numberings) if numberings else fingerprint
    return f"labelled{ROWS_FORMAT}-{own[:32]}"


def _order(config: DataConfig, dataset: Dataset) -> Dataset:
    """Returns data with the order of training rows that is asked for, if one is."""
    together = _choose_together(config, dataset.fields, dataset.splits["train"])
    if together is not None:
        return dataclasses.replace(dataset, together=together)
    if not config.domains:
        return dataset
    names, numbers = names_of(dataset.codecs), dataset.splits["train"][DOMAIN]
    return dataclasses.replace(dataset, mixture=make_mixture(config, names, numbers))


def _choose_together(
    config: DataConfig, fields: Mapping[str, Field], train: Mapping[str, np.ndarray]
) -> RowsOfImages | None:
    """Returns the rows of train by image, if those of one image are to stand together.

    Raises:
        ConfigError: If there are no images, or nothing else to tell their rows apart.
    """
    per_image = config.rows_per_image
    if per_image == 1:
        return None
    asked = f"config.data.rows_per_image={per_image}"
    has_positions = any(POSITIONS in field.axes for field in fields.values())
    if IMAGE not in fields or not has_positions:
        raise ConfigError(
            f"{asked} is for rows that read an image and a text, such as questions "
            "about it. Set it to 1."
        )
    if config.batch_size % per_image:
        raise ConfigError(
            f"config.data.batch_size={config.batch_size} must be a multiple of {asked}."
        )
    others = {"buckets": list(config.buckets), "domains": config.domains}
    for name, value in others.items():
        if value:
            raise ConfigError(
                f"{asked} and config.data.{name}={value} exclude each other. Set one "
                "of them."
            )
    return RowsOfImages(np.asarray(train[IMAGE]), per_image)


def _choose_buckets(
    config: DataConfig, fields: Mapping[str, Field], train: Mapping[str, np.ndarray]
) -> Buckets | None:
    """Returns the rows of train by length, if batches are to differ in it."""
    lengths = sorted({*config.buckets, config.seq_len})
    has_positions = any(POSITIONS in field.axes for field in fields.values())
    if len(lengths) == 1 or not len(next(iter(train.values()))):
        return None
    if not has_positions:
        raise ConfigError(
            f"config.data.buckets={list(config.buckets)} cuts rows of tokens; these "
            "data have none. Leave it out."
        )
    return make_buckets(lengths, fields, train)


def _write(
    folder: Path, columns: list[Prepared], splits: Splits, report: Progress
) -> Info:
    """Encodes all examples into files, and returns the counts of the columns."""
    info: Info = {}
    for split in SPLITS:
        encoded = _encode(columns, splits[split])
        beside = {OF_EXAMPLES: encoded.examples, OF_TARGETS: encoded.targets}
        for name, rows in {**encoded.arrays, **beside}.items():
            np.save(folder / f"{split}.{name}.npy", np.asarray(rows))
        for what, number in encoded.counts.items():
            info.setdefault(what, {})[split] = int(number)
        report("encode", (SPLITS.index(split) + 1) / len(SPLITS))
    return info


def _encode(columns: list[Prepared], examples: list[Example]) -> Encoded:
    """Returns the rows of examples.

    Raises:
        DataError: Naming the first example that no row can be made of.
    """
    try:
        return encode_examples(columns, examples)
    except DataError:
        for bad in find_unencodable(columns, examples).values():
            raise DataError(bad.message) from None
        raise


def _open_all(folder: Path, split: str) -> dict[str, np.ndarray]:
    """Returns all arrays of a split: fields, and what answers need of rows."""
    names = {path.name.split(".")[1] for path in folder.glob(f"{split}.*.npy")}
    own = sorted(names - {OF_EXAMPLES, OF_TARGETS})
    return {name: _open(folder, split, name) for name in own}


def _open(folder: Path, split: str, name: str) -> np.ndarray:
    path = folder / f"{split}.{name}.npy"
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _hash_examples(examples: list[Example]) -> str:
    """Returns a hash of all values of examples, in their order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(hash_inputs(example, tuple(example.values)))
    return digest.hexdigest()


def _read_again(
    config: DataConfig, hashes: Sequence[str], again: Callable[..., Gathered]
) -> Splits:
    """Returns all examples, with the fields of their files.

    Args:
        config: Names the sources.
        hashes: Of the examples whose rows were made, split after split.
        again: Gathers them once more.

    Raises:
        DataError: If those of a split are others now.
    """
    splits = again(Skips(), keep_records=True).dealt.splits
    for split, known in zip(SPLITS, hashes, strict=True):
        if _hash_examples(splits[split]) != known:
            raise DataError(
                f"{name_sources(config.source)} has changed since its rows were made: "
                f"the {split} split has other examples now. Put the files back, and "
                "run the same command again."
            )
    return splits


def _count_rows(
    folder: Path, split: str, examples: list[Example], inputs: tuple[str, ...]
) -> dict[str, Any]:
    """Returns the bytes of text, the targets and the example of each row.

    The bytes of an example with several rows are those of its first one.
    """
    owners = _open(folder, split, OF_EXAMPLES)
    sizes = np.array([count_bytes(example, inputs) for example in examples], np.int64)
    is_first = np.diff(owners, prepend=-1) > 0
    return {
        "bytes": np.where(is_first, sizes[owners], 0),
        "targets": _open(folder, split, OF_TARGETS),
        "example": owners,
    }
