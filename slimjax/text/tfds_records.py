"""Records of data sets of TensorFlow Datasets, read without TensorFlow.

References: the guide "TFDS for Jax and PyTorch" of tensorflow.org/datasets, on
``as_data_source``.
"""

import dataclasses
import importlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.files import show
from slimjax.text.reading import NO_FIELD, BadDocument, Line
from slimjax.text.records import Format, Record
from slimjax.text.tfds_folder import find_prepared, fit, parse_name

_EXAMPLES_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class _TfdsRecord(Record):
    """An example of a data set, all of whose examples have the same fields.

    Attributes:
        command: The end of a message: how to prepare it.
    """

    command: str = ""

    def get(self, name: Any) -> Any:
        """Returns a value; what is missing is missing in the whole data set."""
        value = super().get(name)
        if not isinstance(value, BadDocument):
            return value
        message = f"{self.line.path} has no field {show(str(name))}."
        hint = show(suggest(str(name), map(str, self.values)))
        message = fit(message, f" {hint}", self.command)
        return BadDocument(NO_FIELD, message, self.line.path)


def read_tfds(pattern: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each example of a split.

    Texts are text, classes have their names, sequences are lists, and pixels are one
    array. A class that is not known (-1) is None. Images that a text names are below
    ``config.data.image_dir``, or else below the folder of the data set.

    Raises:
        ConfigError: If the library is missing.
        DataError: If the data set is not there, or cannot be opened.
    """
    wanted, prepared = parse_name(pattern), find_prepared(pattern, style.tfds_dir)
    assert wanted is not None
    split = prepared.choose_split(wanted.split, style.split)
    builder = open_builder(prepared.folder, prepared.name)
    features = builder.info.features
    own = dict[str, Any](folder=style.image_dir or os.fspath(prepared.folder))
    own |= dict(command=prepared.command)
    try:
        source = builder.as_data_source(split)
        for start in range(0, len(source), _EXAMPLES_AT_ONCE):
            numbers = range(start, min(start + _EXAMPLES_AT_ONCE, len(source)))
            found = source.__getitems__(list(numbers))
            for number, example in zip(numbers, found, strict=True):
                line = Line("", number + 1, f"tfds:{prepared.name}", unit="example")
                yield _to_record(example, features, line, own)
    except (ValueError, OSError, RuntimeError, NotImplementedError) as error:
        why = show(" ".join(str(error).split()))
        raise DataError(
            fit(f"tfds:{prepared.name}: {split} cannot be read: {why}")
        ) from None


def open_builder(folder: Any, name: str) -> Any:
    """Returns the builder of a folder; it reads, and downloads nothing.

    Raises:
        ConfigError: If the library is missing.
        DataError: If the folder cannot be opened.
    """
    library = import_tfds()
    try:
        return library.builder_from_directory(str(folder))
    except Exception as error:  # Of the library's parsers; they have no common class.
        why = show(" ".join(str(error).split()))
        raise DataError(fit(f"tfds:{name} cannot be opened: {why}")) from None


def import_tfds() -> Any:
    """Returns the library.

    Raises:
        ConfigError: If it is missing.
    """
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError:
        raise ConfigError(
            "tfds needs TensorFlow Datasets, without TensorFlow. Run: pip install "
            "'slimjax[tfds]'"
        ) from None


def convert(value: Any, feature: Any) -> Any:
    """Returns a value as a JSON file would have it.

    Args:
        value: As the library returns it.
        feature: What the library knows of it; only its attributes are looked at.
    """
    if isinstance(value, dict):
        inner = getattr(feature, "feature", feature)
        return {name: convert(part, inner[name]) for name, part in value.items()}
    inner = getattr(feature, "feature", feature)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and hasattr(inner, "encoding_format"):
        return value  # The pixels of an image, [H W C].
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0:
        return [convert(part, inner) for part in value]
    plain: Any = value.item() if isinstance(value, np.generic | np.ndarray) else value
    if isinstance(plain, bytes):
        return plain.decode()
    if hasattr(inner, "int2str"):
        return inner.int2str(plain) if plain >= 0 else None
    return plain


def _to_record(
    example: Any, features: Any, line: Line, own: dict[str, Any]
) -> Record | BadDocument:
    if not isinstance(example, dict):
        return line.bad("wrong_type", "is not an object of named features.")
    try:
        return _TfdsRecord(convert(example, features), line, **own)
    except UnicodeDecodeError:
        return line.bad("not_utf8", "holds text that is not UTF-8.")
