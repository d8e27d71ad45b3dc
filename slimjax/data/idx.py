"""Images and labels in IDX files, as MNIST and Fashion-MNIST come.

A file begins with a magic number, 0x803 for images and 0x801 for labels, then the
number of items, for images their height and width, all as big-endian int32; then
bytes. References: LeCun et al., "The MNIST database of handwritten digits", the
section on file formats.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from slimjax.errors import ConfigError, DataError
from slimjax.paths import user_path
from slimjax.text.examples import Example
from slimjax.text.files import READ_ERRORS, open_bytes, show
from slimjax.text.source_images import make_picture
from slimjax.text.sources import Names, name_sources, parse_sources

IMAGE = "image"
IMAGES, LABELS = 0x803, 0x801
INPUTS = ({"features": "features"}, {IMAGE: IMAGE})
"""What tasks may read of images in IDX files, beside a label."""
LABEL = {"label": "label"}
_PARTS = {"train": "train", "test": "t10k"}


def iterate_idx(folder: str, split: str, kinds: Collection[str]) -> Iterator[Example]:
    """Yields the examples of one part, whose features are the bytes of an image.

    Args:
        folder: Where the four files are, plain or ``.gz``.
        split: ``train`` or ``test``.
        kinds: What is read: where it has ``image``, examples have that, and no
            ``features``.

    Raises:
        DataError: If a file is missing or is not what it should be.
    """
    part = _PARTS[split]
    images_path = _find(folder, f"{part}-images", "idx3-ubyte")
    images = read_idx(images_path, IMAGES)
    labels_path = _find(folder, f"{part}-labels", "idx1-ubyte")
    labels = read_idx(labels_path, LABELS)
    if len(images) != len(labels):
        raise DataError(
            f"{show(labels_path)} has {len(labels)} labels, {show(images_path)} has "
            f"{len(images)} images."
        )
    for i, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        values: dict[str, Any] = {"features": pixels.reshape(-1)}
        if IMAGE in kinds:
            path = f"{show(images_path)}, item {i + 1}"
            values = {IMAGE: make_picture(pixels, path)}
        values["label"] = str(label)
        yield Example(values, labels_path, i + 1, {"number": i + 1}, "item")


def check_kinds(
    kinds: Mapping[str, str], names: Names, where: str, targets: Mapping[str, str]
) -> None:
    """Refuses IDX files for a task that reads something else.

    Args:
        kinds: What is read.
        names: The sources.
        where: The setting of the sources, for messages.
        targets: What must be read beside an image: a label, or nothing.

    Raises:
        ConfigError: If it is not an image, or its bytes as features.
    """
    if {**kinds} not in [{**own, **targets} for own in INPUTS]:
        raise ConfigError(
            f"{where}={show(name_sources(names))} holds images and labels; this task "
            f"reads {', '.join(kinds)}."
        )


def is_idx(names: Names) -> bool:
    """Returns whether sources are folders of images; all must be, or none.

    Raises:
        ConfigError: If only some are.
    """
    schemes = {source.scheme for source in parse_sources(names)}
    if "idx" in schemes and len(schemes) > 1:
        raise ConfigError(f"{show(name_sources(names))}: idx stands with other kinds.")
    return "idx" in schemes


def has_test_part(folder: str) -> bool:
    """Returns whether a folder holds images for the test split."""
    return _look_up(folder, f"{_PARTS['test']}-images", "idx3-ubyte") is not None


def read_idx(path: str, magic: int) -> UInt8[np.ndarray, "..."]:
    """Returns the content of one file: ``[N H W]`` of images, ``[N]`` of labels.

    Raises:
        DataError: If it is not such a file.
    """
    try:
        with open_bytes(path) as file:
            data = file.read()
    except READ_ERRORS as error:
        raise DataError(f"{show(path)} cannot be read: {show(str(error))}.") from None
    found = int.from_bytes(data[:4], "big")
    kind = "images" if magic == IMAGES else "labels"
    if len(data) < 4 or found != magic:
        raise DataError(
            f"{show(path)} is not an IDX file of {kind}: it begins with "
            f"{found:#x}, not {magic:#x}."
        )
    num_axes = magic & 0xFF
    start = 4 + 4 * num_axes
    if len(data) < start:
        raise DataError(f"{show(path)} ends within its header.")
    shape = [int(n) for n in np.frombuffer(data, ">i4", num_axes, offset=4)]
    size = int(np.prod(shape, dtype=np.int64))
    if min(shape) < 0 or len(data) - start != size:
        raise DataError(
            f"{show(path)} has {len(data) - start} bytes of {kind}; its header says "
            f"{' x '.join(map(str, shape))}. Download it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _find(folder: str, name: str, kind: str) -> str:
    path = _look_up(folder, name, kind)
    if path is None:
        raise DataError(
            f"idx:{show(folder)} holds no {name}-{kind}, plain or .gz. Name the folder "
            "of the files of MNIST."
        )
    return path


def _look_up(folder: str, name: str, kind: str) -> str | None:
    root = user_path(folder, "config.data.source")
    if not root.is_dir():
        raise DataError(f"idx:{show(folder)} is not a folder.")
    names = (f"{name}{sign}{kind}{end}" for sign in "-." for end in ("", ".gz"))
    paths = (Path(root, name) for name in names)
    return next((os.fspath(path) for path in paths if path.is_file()), None)
