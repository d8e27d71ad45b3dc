"""Reading all examples that a config names, before they are dealt out to splits."""

from collections.abc import Mapping

from slimjax.data.config import DataConfig
from slimjax.data.idx import has_test_part, iterate_idx
from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import Example, choose_columns, iterate_examples
from slimjax.text.files import show
from slimjax.text.skips import Skips
from slimjax.text.sources import Names, name_sources, parse_sources

_IDX_KINDS = {"features": "features", "label": "label"}


def read_pools(
    config: DataConfig,
    kinds: Mapping[str, str],
    skips: Skips,
    *,
    only_source: bool = False,
) -> dict[str, list[Example]]:
    """Returns the examples of ``train``, and of splits with a source of their own.

    Args:
        config: Sources, and how they are read.
        kinds: What the task reads: names and kinds.
        skips: Counts bad examples that may be skipped.
        only_source: Whether to leave other sources than ``config.data.source`` alone.

    Raises:
        ConfigError: If the settings do not fit the task or the files.
        DataError: If a source holds no example, or a bad one.
    """
    sources: dict[str, tuple[Names, str]] = {"train": (config.source, "source")}
    if not only_source:
        for split in ("valid", "test"):
            names = getattr(config, f"{split}_source")
            if names:
                sources[split] = (names, f"{split}_source")
    pools = {}
    for split, (names, key) in sources.items():
        pools[split] = _read(config, kinds, names, f"config.data.{key}", skips)
    if _is_idx(config.source) and "test" not in sources and not only_source:
        folders = [source.pattern for source in parse_sources(config.source)]
        if all(has_test_part(folder) for folder in folders):
            pools["test"] = [e for f in folders for e in iterate_idx(f, "test")]
    return pools


def _read(
    config: DataConfig,
    kinds: Mapping[str, str],
    names: Names,
    where: str,
    skips: Skips,
) -> list[Example]:
    """Returns all examples of one source or several."""
    if _is_idx(names):
        if dict(kinds) != _IDX_KINDS:
            raise ConfigError(
                f"{where}={show(name_sources(names))} holds images and labels; this "
                f"task reads {', '.join(kinds)}."
            )
        folders = [source.pattern for source in parse_sources(names, where)]
        part = "test" if where.endswith("test_source") else "train"
        return [example for f in folders for example in iterate_idx(f, part)]
    columns = choose_columns(kinds, config.fields, header=config.header)
    examples = iterate_examples(
        names,
        columns,
        style=config.style,
        on_bad_example=config.on_bad_example,
        skips=skips,
        where=where,
    )
    found = list(examples)
    if not found:
        left_out = skips.describe("config.data.on_bad_example", "examples")
        name = show(name_sources(names))
        raise DataError(f"{where}={name} holds no example. {left_out}".rstrip())
    return found


def _is_idx(names: Names) -> bool:
    """Returns whether sources are folders of images; all must be, or none."""
    schemes = {source.scheme for source in parse_sources(names)}
    if "idx" in schemes and len(schemes) > 1:
        raise ConfigError(f"{show(name_sources(names))}: idx stands with other kinds.")
    return "idx" in schemes
