"""Data sets of TensorFlow Datasets without a split in brackets: which one is read."""

from pathlib import Path

from slimjax.cli.streams import write_error
from slimjax.errors import ConfigError


def note_train(flag: str, names: str | None) -> None:
    """Writes to stderr which split is read of each data set that names none.

    Args:
        flag: Such as ``--input``.
        names: Its sources, or None.
    """
    for name in _find_unnamed(names, flag):
        remedy = f"Name another one in brackets: tfds:{name}[test]."
        write_error(f"{flag}=tfds:{name} reads the split train. {remedy}")


def refuse_trained(workdir: str, names: str | None) -> None:
    """Refuses to measure a model on the split that it was trained on, if none is named.

    Args:
        workdir: The run folder.
        names: Sources of ``--data``, or None.

    Raises:
        ConfigError: If a data set without a split is one that the run trained on.
    """
    from slimjax.store.files import read_json
    from slimjax.store.run_folder import RunFolder
    from slimjax.text.tfds_folder import parse_name

    path, unnamed = RunFolder(Path(workdir)).config, _find_unnamed(names, "--data")
    if not unnamed or not path.is_file():
        return
    data = read_json(path, dict).get("data", {})
    sources = [data.get("source"), *data.get("domains", {}).values()]
    found = [parse_name(own) for each in sources for own in _find_patterns(each)]
    trained = [own for own in found if own and own.split[:5] in ("", "train")]
    known = {(own.name, own.config) for own in trained}
    for name in unnamed:
        wanted = parse_name(name)
        if wanted and (wanted.name, wanted.config) in known:
            raise ConfigError(
                f"--data=tfds:{name} reads the split train, which this model was "
                f"trained on. Name a split in brackets: tfds:{name}[test]."
            )


def _find_unnamed(names: str | None, flag: str) -> list[str]:
    """Returns the data sets among sources that name no split."""
    from slimjax.text.tfds_folder import parse_name

    found = [(name, parse_name(name)) for name in _find_patterns(names, flag)]
    return [name for name, parts in found if parts and not parts.split]


def _find_patterns(
    names: str | list[str] | None, where: str = "config.data.source"
) -> list[str]:
    """Returns the names of data sets among sources."""
    from slimjax.text.sources import parse_sources

    sources = parse_sources(names, where) if names else []
    return [source.pattern for source in sources if source.scheme == "tfds"]
