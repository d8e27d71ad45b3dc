"""Reading all examples that a config names, before they are dealt out to splits."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from slimjax.data.config import DataConfig
from slimjax.data.domain_config import name_source
from slimjax.data.domains import choose_all_columns, in_domain
from slimjax.data.idx import LABEL, check_kinds, has_test_part, is_idx, iterate_idx
from slimjax.data.outline import DOMAIN
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import Example, iterate_examples, refuse_or_skip
from slimjax.text.fields import check_names
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.skips import Skips
from slimjax.text.sources import Names, name_sources, parse_sources

Pools = dict[str, list[Example]]


class _Wanted(NamedTuple):
    """Sources to read: their names, their split, their setting, and their domain."""

    names: Names
    split: str
    where: str
    domain: str = ""


def read_pools(
    config: DataConfig,
    schema: Schema,
    skips: Skips,
    *,
    reads: Collection[str] | None = None,
    only_source: bool = False,
    keep_records: bool = False,
    has_domains: bool = False,
) -> Pools:
    """Returns the examples of ``train``, and of splits with a source of their own.

    Args:
        config: Sources, and how they are read.
        schema: What the task reads.
        skips: Counts bad examples that may be skipped.
        reads: Those of the optional values that examples must have; by default those
            that the first example has.
        keep_records: Whether examples keep all fields of their files.
        only_source: Whether to leave other sources than ``config.data.source`` alone.
        has_domains: Whether examples may name a domain.

    Raises:
        ConfigError: If the settings do not fit the task or the files.
        DataError: If a source holds no example, or a bad one.
    """
    pools: Pools = {}
    check_names([*schema.kinds, *([DOMAIN] if has_domains else [])], config.fields)
    for names, split, where, domain in _list_wanted(config, only_source=only_source):
        kinds = schema.kinds if reads is None else schema.choose_kinds(reads)
        options = dict(keep_records=keep_records)
        options["with_groups"] = split == "train" and not only_source
        options["has_domains"] = has_domains and not domain
        found = list(_read(config, kinds, names, where, skips, **options))
        if reads is None:
            reads = [n for n in schema.optional if found and n in found[0].values]
        found = _check(config, schema, reads, found, skips)
        if not found:
            raise _make_empty(names, where, skips)
        own = [in_domain(example, domain) for example in found] if domain else found
        pools.setdefault(split, []).extend(own)
    if is_idx(config.source) and "test" not in pools and not only_source:
        pools |= _read_test_parts(config, schema)
    return pools


def check_pools(
    config: DataConfig, pools: Mapping[str, Sequence[Example]], skips: Skips
) -> None:
    """Refuses sources all of whose examples were left out after they were read.

    Args:
        config: The sources.
        pools: What is left of each.
        skips: Says what was left out.

    Raises:
        DataError: If nothing is left of one.
    """
    for split, examples in pools.items():
        if not examples:
            key = "source" if split == "train" else f"{split}_source"
            raise _make_empty(getattr(config, key), f"config.data.{key}", skips)


def _make_empty(names: Names, where: str, skips: Skips) -> DataError:
    left_out = skips.describe("config.data.on_bad_example", "examples")
    name = show(name_sources(names))
    return DataError(f"{where}={name} holds no example. {left_out}".rstrip())


def _read_test_parts(config: DataConfig, schema: Schema) -> Pools:
    """Returns the images for the test split, if all folders of the sources have some.

    They are of the domain whose source their folder is.
    """
    folders = [
        (source.pattern, domain)
        for names, _, _, domain in _list_wanted(config, only_source=True)
        for source in parse_sources(names)
    ]
    if not all(has_test_part(folder) for folder, _ in folders):
        return {}
    parts = [(iterate_idx(f, "test", schema.kinds), domain) for f, domain in folders]
    return {
        "test": [
            in_domain(example, domain) if domain else example
            for part, domain in parts
            for example in part
        ]
    }


def _list_wanted(config: DataConfig, *, only_source: bool) -> list[_Wanted]:
    """Returns all sources of a config, those of ``train`` first."""
    wanted = [_Wanted(config.source, "train", "config.data.source")]
    if config.domains:
        wanted = [
            _Wanted(names, "train", name_source(domain), domain)
            for domain, names in config.domains.items()
        ]
    for split in () if only_source else ("valid", "test"):
        if names := getattr(config, f"{split}_source"):
            wanted.append(_Wanted(names, split, f"config.data.{split}_source"))
    return wanted


def _read(
    config: DataConfig,
    kinds: Mapping[str, str],
    names: Names,
    where: str,
    skips: Skips,
    *,
    with_groups: bool,
    keep_records: bool,
    has_domains: bool,
) -> Iterator[Example]:
    """Yields all examples of one source or several."""
    role = where.rpartition(".")[2].partition("_")[0]
    role = role if role in ("valid", "test") else "train"
    if is_idx(names):
        if config.group_field:
            raise ConfigError(
                f"config.data.group_field={show(config.group_field)}: images of "
                f"{show(name_sources(names))} have no fields. Leave it out."
            )
        check_kinds(kinds, names, where, LABEL)
        part = "test" if role == "test" else "train"
        for source in parse_sources(names, where):
            yield from iterate_idx(source.pattern, part, kinds)
        return
    columns = choose_all_columns(
        kinds, config.fields, header=config.header, has_domains=has_domains
    )
    style = dataclasses.replace(config.style, split=role)
    yield from iterate_examples(
        names,
        columns,
        style=style,
        on_bad_example=config.on_bad_example,
        skips=skips,
        where=where,
        group_field=config.group_field if with_groups else "",
        keep_records=keep_records,
    )


def _check(
    config: DataConfig,
    schema: Schema,
    reads: Collection[str],
    examples: list[Example],
    skips: Skips,
) -> list[Example]:
    """Returns the examples whose values fit together; all have the same ones."""
    kept = []
    for example in examples:
        bad = _find_difference(schema, reads, example) or schema.check(example)
        if bad is None:
            kept.append(example)
        else:
            refuse_or_skip(bad, config.on_bad_example, skips)
    return kept


def _find_difference(
    schema: Schema, reads: Collection[str], example: Example
) -> BadDocument | None:
    """Returns what an example has too much or too little of the optional values."""
    for name in schema.optional:
        if (name in example.values) == (name in reads):
            continue
        has, other = ("no", "one") if name in reads else ("a", "none")
        problem = f"has {has} field {show(name)}; the examples before it have {other}."
        return example.bad("missing_field", problem)
    return None
