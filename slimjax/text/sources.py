"""Where examples and text come from: a source is a word and the files it names.

    stdlib               the .py files of the standard library, without its tests
    text:GLOB            text files
    jsonl:GLOB#field     one JSON object a line, its text under `field`
    csv:GLOB#column      tables with commas, or tabs in .tsv and .tab
    conll:GLOB           a token and its tag a line, a blank line after a sentence
    squad:GLOB           questions about contexts, in the JSON of SQuAD 1 and 2
    parallel:GLOB,GLOB   two files line by line: sources and targets
    images:DIR           images, a folder for each class
    coco:GLOB            images with captions, in the JSON of COCO
    idx:DIR              images and labels, as MNIST comes
    tfds:NAME            a data set of TensorFlow Datasets that is prepared:
                         NAME[/CONFIG][:VERSION], and a split in brackets

Files are plain or end in .gz. Without ``#field`` the field is what
``config.data.fields`` names. A list of sources is read in turn; so is a text such as
``text:a.txt,text:b.txt``, unless a file has that name. Any other comma is part of a
name.
"""

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.paths import user_path
from slimjax.text.coco import read_coco
from slimjax.text.conll import read_conll
from slimjax.text.files import find_files, find_library_files, show
from slimjax.text.image_folders import read_image_folder
from slimjax.text.parallel import find_pairs, read_pair
from slimjax.text.reading import BadDocument
from slimjax.text.records import (
    DEFAULT_FORMAT,
    Format,
    Record,
    read_json_lines,
)
from slimjax.text.squad import read_squad
from slimjax.text.tables import read_table
from slimjax.text.tfds_folder import find_prepared, parse_name
from slimjax.text.tfds_records import read_tfds

_READERS = {
    "jsonl": read_json_lines,
    "csv": read_table,
    "conll": read_conll,
    "squad": read_squad,
    "images": read_image_folder,
    "coco": read_coco,
}
HOLD_RECORDS = (*_READERS, "parallel", "tfds")
"""Kinds of sources whose files hold records, each with fields."""
SCHEMES = ("stdlib", "text", *HOLD_RECORDS, "idx")
_ARGUMENTS = {
    "idx": "DIR",
    "images": "DIR",
    "parallel": "GLOB,GLOB",
    "tfds": "NAME[/CONFIG][:VERSION]",
}
_NEXT_SOURCE = re.compile(rf",(?=(?:{'|'.join(SCHEMES)}):|stdlib$|stdlib,)")

Names = str | Sequence[str]


class Part(NamedTuple):
    """A file of a source, with its twin where a source has pairs of files.

    Attributes:
        path: The file; of a data set of tfds, its folder.
        twin: The file that belongs to it, or "".
    """

    path: str
    twin: str = ""

    @property
    def files(self) -> list[str]:
        """All files, those of a folder among them."""
        if os.path.isdir(self.path):
            names = sorted(os.listdir(self.path))
            return [os.path.join(self.path, name) for name in names]
        return [path for path in self if path]


@dataclasses.dataclass(frozen=True)
class Source:
    """A source taken apart: ``jsonl:logs/*.gz#text`` has all three parts."""

    scheme: str
    pattern: str = ""
    field: str = ""

    @property
    def has_records(self) -> bool:
        """Whether its files hold records, each with fields."""
        return self.scheme in HOLD_RECORDS

    def find_files(self, style: Format = DEFAULT_FORMAT) -> list[Part]:
        """Returns the source's files, in a fixed order; of tfds, the folder.

        Args:
            style: Says where data sets of tfds are.

        Raises:
            DataError: If there are none.
        """
        if self.scheme == "tfds":
            return [Part(os.fspath(find_prepared(self.pattern, style.tfds_dir).folder))]
        if self.scheme == "images":
            return [Part(_find_folder(self.pattern))]
        if self.scheme == "stdlib":
            return [Part(path) for path in find_library_files()]
        if self.scheme == "parallel":
            return [Part(*pair) for pair in find_pairs(self.pattern)]
        return [Part(path) for path in find_files(self.pattern)]

    def read_records(self, part: Part, style: Format) -> Iterator[Record | BadDocument]:
        """Yields the records of one of its files."""
        if self.scheme == "parallel":
            return read_pair(part.path, part.twin, style)
        if self.scheme == "tfds":
            return read_tfds(self.pattern, style)
        return _READERS[self.scheme](part.path, style)


def parse_sources(names: Names, where: str = "config.data.source") -> list[Source]:
    """Takes one source or several apart.

    Args:
        names: One text, which may hold several sources with commas between them, or a
            list with one source each.
        where: The setting, for messages.

    Raises:
        ConfigError: If one of them is not a source.

    Examples:
        >>> parse_sources("text:a,b.txt,jsonl:logs/*.gz#text")
        ... # doctest: +NORMALIZE_WHITESPACE
        [Source(scheme='text', pattern='a,b.txt', field=''),
         Source(scheme='jsonl', pattern='logs/*.gz', field='text')]
    """
    return [parse_source(name, where) for name in split_names(names, where)]


def split_names(names: Names, where: str = "config.data.source") -> list[str]:
    """Returns one text for each source.

    Raises:
        ConfigError: If there is none.

    Examples:
        >>> split_names("csv:a,b.csv,jsonl:c.jsonl")
        ['csv:a,b.csv', 'jsonl:c.jsonl']
    """
    if isinstance(names, str):
        is_one = _is_file(names.partition(":")[2])
        return [names] if is_one else _NEXT_SOURCE.split(names)
    if not isinstance(names, list | tuple) or not names:
        raise ConfigError(f"{where}={show(names)} is not a source. Write text:GLOB.")
    return [*names]


def parse_source(text: str, where: str = "config.data.source") -> Source:
    """Takes one source apart.

    Raises:
        ConfigError: If it is not a source.
    """
    where = f"{where}={show(text)}"
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{where} is not a source. Write stdlib, text:GLOB, ...")
    scheme, _, pattern = text.partition(":")
    if scheme not in SCHEMES:
        raise ConfigError(f"{where} is not a known source. {_suggest(text, scheme)}")
    if scheme == "stdlib":
        if text != "stdlib":
            raise ConfigError(f"{where} takes no argument. Write stdlib.")
        return Source("stdlib")
    field = ""
    has_field = scheme in HOLD_RECORDS and scheme != "images"  # A folder has none.
    if has_field and "#" in pattern and not _is_file(pattern):
        pattern, _, field = pattern.rpartition("#")
    wanted = f"Write {scheme}:{_ARGUMENTS.get(scheme, 'GLOB')}."
    if not pattern:
        raise ConfigError(f"{where} names no files. {wanted}")
    if scheme == "parallel" and "," not in pattern:
        raise ConfigError(f"{where} names one pattern, not two. {wanted}")
    if scheme == "tfds" and parse_name(pattern) is None:
        raise ConfigError(f"{where} is not the name of a data set. {wanted}")
    return Source(scheme, pattern, field)


def name_sources(names: Names) -> str:
    """Returns sources as one text, for messages and reports."""
    return names if isinstance(names, str) else ", ".join(names)


def _find_folder(pattern: str) -> str:
    """Returns the folder of the images of a source.

    Raises:
        DataError: If it is not a folder.
    """
    path = user_path(pattern, "config.data.source")
    if not path.is_dir():
        hint = " Images have no #field; write images:DIR." if "#" in pattern else ""
        raise DataError(f"images:{show(pattern)} is not a folder.{hint}")
    return os.fspath(path)


def _is_file(pattern: str) -> bool:
    return os.path.isfile(os.path.expanduser(pattern))


def _suggest(text: str, scheme: str) -> str:
    if ":" not in text and any(sign in text for sign in "/.*"):
        return f"Write text:{show(text)}."
    return suggest(scheme, SCHEMES)
