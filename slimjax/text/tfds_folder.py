"""Data sets of TensorFlow Datasets on disk: where one is, and what its info file says.

A data set that was prepared lies in ``DIR/NAME[/CONFIG]/VERSION``, with its info in
``dataset_info.json``. Nothing is downloaded, and the library is not needed here.
"""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from slimjax.errors import DataError, suggest
from slimjax.paths import user_path
from slimjax.text.files import show

DIRECTORY = "TFDS_DATA_DIR"
DEFAULT_DIRECTORY = "~/tensorflow_datasets"
INFO_FILE = "dataset_info.json"
FORMAT = "array_record"
MAX_MESSAGE = 199
SPLITS = {"valid": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What the splits of a data set may be called, by ours; all others are ``train``."""
_NAME = re.compile(
    r"(?P<name>\w+)(/(?P<config>[\w.-]+))?(:(?P<version>\d+\.\d+\.\d+))?"
    r"(\[(?P<split>[^\[\]]+(\[[^\[\]]*\])?)\])?"
)
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class TfdsName:
    """A name taken apart: ``NAME[/CONFIG][:VERSION][SPLIT]``, the split in brackets.

    Attributes:
        name: The data set.
        config: Its config, or "".
        version: Its version, or "" for the newest one.
        split: A split or a part of it, such as ``train[:10%]``, or "".
    """

    name: str
    config: str
    version: str
    split: str


def parse_name(text: str) -> TfdsName | None:
    """Returns the parts of a name; None if it is not one.

    Examples:
        >>> parse_name("glue/sst2:2.0.0[train[:10%]]")
        TfdsName(name='glue', config='sst2', version='2.0.0', split='train[:10%]')
    """
    found = _NAME.fullmatch(text)
    return TfdsName(**found.groupdict(default="")) if found else None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that is there.

    Attributes:
        folder: The folder of its version.
        info: Content of its info file.
        name: What it is called in messages.
        root: Where data sets are.
    """

    folder: Path
    info: dict[str, Any]
    name: str
    root: Path

    @property
    def command(self) -> str:
        """The end of a message: how to prepare it."""
        return _command(self.root)

    @property
    def splits(self) -> dict[str, tuple[int, int]]:
        """Examples and bytes of each split."""
        return {
            split["name"]: (
                sum(map(int, split.get("shardLengths", []))),
                int(split.get("numBytes", 0)),
            )
            for split in self.info.get("splits", [])
        }

    def choose_split(self, asked: str, role: str) -> str:
        """Returns the split to read.

        Args:
            asked: The one of the name, which may be a part of a split; or "".
            role: What is read: ``train``, ``valid`` or ``test``.

        Raises:
            DataError: If there is no such split.
        """
        known, names = self.splits, SPLITS.get(role, ("train",))
        if asked:
            names = (re.split(r"\W", asked, maxsplit=1)[0],)
        found = next((name for name in names if name in known), None)
        if found is None:
            has = ", ".join(known)
            message = f"tfds:{self.name} has no split {names[0]}. It has {has}."
            hint = f" Name one: tfds:{self.name}[{next(iter(known), 'train')}]."
            raise DataError(fit(message, hint, self.command))
        return asked or found


def find_prepared(pattern: str, tfds_dir: str) -> Prepared:
    """Returns the data set of a name.

    Args:
        pattern: The name, as `parse_name` takes it.
        tfds_dir: Where data sets are; by default ``TFDS_DATA_DIR``.

    Raises:
        DataError: If it is not there, or cannot be read without TensorFlow.
    """
    wanted = parse_name(pattern)
    assert wanted is not None, pattern
    root = user_path(tfds_dir or os.environ.get(DIRECTORY) or DEFAULT_DIRECTORY)
    name = wanted.name + (f"/{wanted.config}" if wanted.config else "")
    folder = root / name
    versions = _find_versions(folder)
    if not versions and not wanted.config:
        configs = sorted(p.name for p in _folders(folder) if _find_versions(p))
        if len(configs) == 1:
            name, folder = f"{name}/{configs[0]}", folder / configs[0]
            versions = _find_versions(folder)
        elif configs:
            raise DataError(fit(f"tfds:{name} needs a config. {suggest('', configs)}"))
    if not versions:
        others = [p.name for p in _folders(root)]
        close = suggest(wanted.name, others) if wanted.name not in others else ""
        hint = f" {close}" if close.startswith("Did") else ""
        raise DataError(
            fit(f"tfds:{name} is not prepared{_place(root)}.", hint, _command(root))
        )
    if wanted.version and wanted.version not in versions:
        have = ", ".join(versions)
        message = f"tfds:{name}:{wanted.version} is not prepared. There is {have}."
        raise DataError(fit(message, command=_command(root)))
    folder /= wanted.version or versions[-1]
    return _check(Prepared(folder, _read_info(folder), name, root))


def fit(message: str, hint: str = "", command: str = "") -> str:
    """Returns a message with what helps, in fewer than 200 characters.

    What does not fit is left out: first the hint, then the end of the message.

    Examples:
        >>> len(fit("x" * 300, " A hint.", " Run: this."))
        199
    """
    for text in (message + hint + command, message + command):
        if len(text) <= MAX_MESSAGE:
            return text
    return message[: MAX_MESSAGE - 3 - len(command)] + "..." + command


def _check(found: Prepared) -> Prepared:
    """Refuses a data set that only TensorFlow can read."""
    has_records = any(f".{FORMAT}" in p.name for p in found.folder.iterdir())
    if found.info.get("fileFormat") != FORMAT and not has_records:
        message = f"tfds:{found.name} is prepared as tfrecord only, not {FORMAT}."
        raise DataError(fit(message, command=found.command))
    return found


def _command(root: Path) -> str:
    """Returns how to prepare a data set, as short as a message needs it."""
    command = " Run: slimjax prepare --tfds_builder=MODULE --output="
    return command + (str(root) if len(str(root)) < 40 else "DIR")


def _place(root: Path) -> str:
    return f" in {show(str(root))}" if len(str(root)) < 60 else ""


def _find_versions(folder: Path) -> list[str]:
    """Returns the versions in a folder, the newest one last."""
    names = [p.name for p in _folders(folder) if _VERSION.fullmatch(p.name)]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_FILE
    try:
        info = json.loads(path.read_text("utf-8"))
        if not isinstance(info, dict):
            raise ValueError("it is not an object")
        return info
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{show(str(path))} cannot be read: {show(str(error))}."
        ) from None
