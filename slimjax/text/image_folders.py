"""Records of a folder of images: one for each file, its class the folder it is in."""

import os
from collections.abc import Iterator
from pathlib import Path

from slimjax.text.files import show
from slimjax.text.reading import BadDocument, Line
from slimjax.text.records import Format, Record

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings of files that are taken for images, in small letters."""


def read_image_folder(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields ``image``, a path below the folder, and ``label``, a class, of each file.

    Folders below a class belong to it. An image beside the class folders has no label.
    Other files, and what begins with a dot, are left out.

    Args:
        path: The folder, with a folder for each class.
        style: Not needed.
    """
    del style
    root, number = Path(path), 0
    for name in _names(root):
        entry = root / name
        files = _find_images(entry) if entry.is_dir() else [entry]
        if not files:
            yield Line("", 1, str(entry)).bad("no_image", _explain_empty(entry))
        for file in files:
            if not _is_image(file.name):
                continue
            number += 1
            label = {"label": name} if entry.is_dir() else {}
            values = {"image": os.fspath(file.relative_to(root)), **label}
            line = Line("", number, os.fspath(file), unit="image")
            yield Record(values, line, folder=path, is_listed=True)
    if number == 0:
        yield Line("", 1, path).bad("empty", f"holds no image ({', '.join(SUFFIXES)}).")


def _find_images(folder: Path) -> list[Path]:
    """Returns the images in a folder and below it, in a fixed order."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in sorted(names) if _is_image(name)]
    return found


def _names(folder: Path) -> list[str]:
    return sorted(n for n in os.listdir(folder) if not n.startswith("."))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _explain_empty(folder: Path) -> str:
    return f"is the folder of a class, {show(folder.name)}, and holds no image."
