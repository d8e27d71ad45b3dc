"""Gathering examples: read, dealt out to splits, and the columns that encode them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from slimjax.data.census import CLASSES
from slimjax.data.config import DataConfig
from slimjax.data.copies import to_bytes
from slimjax.data.dealing import Dealt, deal
from slimjax.data.domains import find_domains, prepare_domain
from slimjax.data.encoding import Prepared, find_problem
from slimjax.data.image_table import (
    IMAGE,
    ImageShape,
    ImageTable,
    open_image_table,
)
from slimjax.data.material import Material, Refuse
from slimjax.data.outline import Codec
from slimjax.data.pools import Pools, check_pools, read_pools
from slimjax.data.reads import READS, Reads
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import Example, refuse_or_skip
from slimjax.text.skips import Skips
from slimjax.text.survey import Progress


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Examples and what encodes them.

    Attributes:
        dealt: The examples by split.
        columns: What makes rows of them.
        reads: Which of the optional values they have.
        kinds: Names and kinds of all values.
    """

    dealt: Dealt
    columns: list[Prepared]
    reads: Reads
    kinds: Mapping[str, str]


def gather(
    config: DataConfig,
    schema: Schema,
    codecs: Mapping[str, Codec],
    skips: Skips,
    report: Progress = lambda *_: None,
    *,
    all_valid: bool = False,
    keep_records: bool = False,
) -> Gathered:
    """Reads and deals out all examples, and prepares the columns.

    Args:
        config: What to read, and how.
        schema: What the task reads.
        codecs: Those that are there already.
        skips: Counts bad examples that may be skipped.
        report: Called with a stage and the fraction of it that is done.
        all_valid: Whether every example is held out, in the split ``valid``.
        keep_records: Whether examples keep all fields of the files.

    Raises:
        ConfigError: If the settings do not fit the task or the files.
        DataError: If examples are missing, unreadable or too few.
    """
    known = codecs.get(READS)
    names = known.names if isinstance(known, Reads) else None
    domains = find_domains(config, codecs)
    options: dict[str, Any] = dict(only_source=all_valid, keep_records=keep_records)
    options["has_domains"] = domains is not None
    pools = read_pools(config, schema, skips, reads=names, **options)
    report("read", 1.0)
    first = next(iter(pools.values()))[0]
    reads = Reads(tuple(name for name in schema.optional if name in first.values))
    kinds = schema.choose_kinds(reads.names)
    inputs = tuple(name for name in schema.inputs if name in kinds)
    refuse = lambda bad: refuse_or_skip(bad, config.on_bad_example, skips)
    images = _open_images(config, kinds, pools, codecs, refuse, report)
    check_pools(config, pools, skips)
    if all_valid:
        dealt = Dealt({"train": [], "valid": pools["train"], "test": []})
    else:
        image_of = images.digest_of if images else None
        options = dict(class_of=_choose_classes(config, kinds), image_of=image_of)
        options |= dict(take_apart=schema.take_apart, shared=schema.shared)
        dealt = deal(pools, inputs, config, **options)
    material = Material(config, kinds, dealt.splits, codecs, refuse, report, images)
    columns = schema.prepare(material)
    if domains is not None:
        columns = [*columns, prepare_domain(domains, dealt.splits)]
    _check(columns, dealt.splits, refuse)
    if not all_valid and not dealt.splits["train"]:
        raise DataError("No example is left for the train split.")
    return Gathered(dealt, columns, reads, kinds)


def _open_images(
    config: DataConfig,
    kinds: Mapping[str, str],
    pools: Pools,
    codecs: Mapping[str, Codec],
    refuse: Refuse,
    report: Progress,
) -> ImageTable | None:
    """Returns the images of all examples; None if they have none."""
    name = next((name for name, kind in kinds.items() if kind == "image"), None)
    if name is None:
        return None
    shape = cast(ImageShape | None, codecs.get(IMAGE))
    done = lambda fraction: report("images", fraction)
    return open_image_table(config, name, pools, refuse, shape, done)


def _choose_classes(
    config: DataConfig, kinds: Mapping[str, str]
) -> Callable[[Example], str] | None:
    """Returns what tells the class of an example, if splits are drawn by class."""
    if not config.stratify:
        return None
    names = [name for name, kind in kinds.items() if kind in CLASSES]
    if not names:
        raise ConfigError(
            "config.data.stratify=True draws splits by class, and this task reads no "
            "label. Set it to False."
        )
    return lambda example: to_bytes(example.values[names[0]]).decode()


def _check(
    columns: Sequence[Prepared], splits: dict[str, list[Example]], refuse: Refuse
) -> None:
    """Takes out of `splits`, or refuses, what the columns cannot encode."""
    for split, examples in splits.items():
        kept: list[Example] = []
        for example in examples:
            bad = find_problem(columns, example)
            refuse(bad) if bad else kept.append(example)
        splits[split] = kept
