"""Preparing a data set by a builder of TensorFlow Datasets that the user wrote.

A builder is code that is run, like a config in Python. It may download what it names.
"""

import dataclasses
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.files import show
from slimjax.text.tfds_folder import FORMAT, Prepared, find_prepared
from slimjax.text.tfds_records import import_tfds


@dataclasses.dataclass(frozen=True)
class Done:
    """What was prepared.

    Attributes:
        source: Its name as a source, such as ``tfds:reviews``.
        folder: Where it is.
        splits: Examples of each split.
    """

    source: str
    folder: Path
    splits: dict[str, int]


def prepare(builder: str, output: Path, config: str = "") -> Done:
    """Runs a builder, unless what it makes is there already.

    Args:
        builder: ``package.module`` with one builder, or ``package.module:Class``.
        output: Where data sets are: ``config.data.tfds_dir``.
        config: The builder's config; by default its first one.

    Raises:
        ConfigError: If there is no such builder, or if the library is missing.
        DataError: If the builder fails.
    """
    library = import_tfds()
    library.disable_progress_bar()
    where = f"--tfds_builder={show(builder)}"
    found = _find_class(library, _import(builder, where), builder, where)
    names = [one.name for one in getattr(found, "BUILDER_CONFIGS", ())]
    if config and config not in names:
        raise ConfigError(f"--tfds_config={show(config)}: {suggest(config, names)}")
    try:
        options = {"config": config} if config else {}
        made = found(data_dir=str(output), file_format=FORMAT, **options)
        made.download_and_prepare()
    except Exception as error:  # Whatever the user's code raises.
        raise DataError(f"{where} fails: {_locate(error)}") from None
    return _describe(made, output)


def _import(builder: str, where: str) -> Any:
    """Returns the module; the current folder is looked at first."""
    module = builder.partition(":")[0]
    if "." not in module:
        raise ConfigError(
            f"{where} must be a module in a package, such as mine.reviews: the file "
            "mine/reviews.py. The library looks for files beside it."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise ConfigError(
                f"{where} is not a module. Name one as in an import, package.module; "
                "the current folder is searched first."
            ) from None
        raise DataError(f"{where} fails: {_locate(error)}") from None
    except Exception as error:  # Whatever the user's code raises.
        raise DataError(f"{where} fails: {_locate(error)}") from None


def _find_class(library: Any, module: Any, builder: str, where: str) -> Any:
    """Returns the one builder of a module, or the one that is named."""
    known = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, library.core.DatasetBuilder)
        and value.__module__ == module.__name__
    }
    asked = builder.partition(":")[2]
    if asked:
        if asked not in known:
            raise ConfigError(
                f"{where}: no builder {show(asked)}. {suggest(asked, known)}"
            )
        return known[asked]
    if len(known) != 1:
        has = ", ".join(known) if known else "none"
        raise ConfigError(
            f"{where} must hold one builder of TensorFlow Datasets; it holds {has}. "
            "Name one: --tfds_builder=package.module:Class."
        )
    return next(iter(known.values()))


def _describe(made: Any, output: Path) -> Done:
    config = f"/{made.builder_config.name}" if made.builder_config else ""
    name = f"{made.name}{config}:{made.version}"
    prepared: Prepared = find_prepared(name, str(output))
    splits = {split: number for split, (number, _) in prepared.splits.items()}
    return Done(f"tfds:{made.name}{config}", prepared.folder, splits)


def _locate(error: BaseException) -> str:
    """Returns an error of the user's code with its place there, on one line."""
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if "site-packages" not in place.filename]
    place = (own or places)[-1]
    message = " ".join(str(error).split())
    at = f"{os.path.basename(place.filename)}, line {place.lineno}"
    return show(f"{at}: {type(error).__name__}: {message}")
