"""Checkpoints that are whole or do not count.

A checkpoint is a folder ``STEP.SEAM`` with the arrays in ``state/``, written by Orbax,
and ``manifest.json``, written last: without its manifest a folder is no checkpoint.
STEP counts steps taken, SEAM seams passed, so that the states before and after a seam
stand side by side. To remove a checkpoint, its manifest goes first.

Size and crc32 of every file, and shape, dtype and crc32 of every leaf, stand in the
manifest: files are compared before Orbax reads them, leaves after.
"""

import logging
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from slimjax.errors import CheckpointError
from slimjax.store.faults import fault_point
from slimjax.store.files import read_json, write_json
from slimjax.trees import leaf_table, named_leaves

FORMAT = "slimjax-checkpoint-1"
MANIFEST = "manifest.json"


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        directory: Where they are.
        num_kept: How many of the newest are kept.
    """

    def __init__(self, directory: Path, num_kept: int = 2):
        """Creates nothing yet."""
        self.directory, self.num_kept = directory.absolute(), num_kept
        logging.getLogger("absl").setLevel(logging.ERROR)

    def list(self) -> list[str]:
        """Returns the names of all checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(
            path.name
            for path in self.directory.iterdir()
            if re.fullmatch(r"\d{8}\.\d{2}", path.name) and (path / MANIFEST).is_file()
        )

    def save(
        self, state: PyTree, manifest: dict[str, Any], step: int, seam: int
    ) -> str:
        """Writes a checkpoint, then removes those that are too old.

        Args:
            state: Arrays only.
            manifest: What else is needed to go on; plain data.
            step: Steps taken so far.
            seam: Seams passed so far.

        Returns:
            The checkpoint's name.

        Raises:
            CheckpointError: If it could not be written.
        """
        name = f"{step:08d}.{seam:02d}"
        folder = self.directory / name
        if name in self.list():
            return name
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self._write_arrays(folder / "state", state)
            fault_point("checkpoint-arrays")
            entry = {"format": FORMAT, "step": step, "seam": seam, **manifest}
            entry["leaves"] = leaf_table(jax.device_get(state))
            entry["files"] = file_table(folder / "state")
            write_json(folder / MANIFEST, entry)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise CheckpointError(f"{folder} cannot be written: {error}.") from error
        fault_point("checkpoint-manifest")
        self._remove_old()
        return name

    def read_manifest(self, name: str) -> dict[str, Any]:
        """Returns a checkpoint's manifest.

        Raises:
            CheckpointError: If it is damaged or of another format.
        """
        manifest = read_json(self.directory / name / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise CheckpointError(f"{self.directory / name} is not of format {FORMAT}.")
        for key in ("files", "leaves"):
            if not isinstance(manifest.get(key), dict):
                raise CheckpointError(
                    f"{self.directory / name}: manifest has no {key}."
                )
        return manifest

    def restore(self, name: str, target: PyTree) -> PyTree:
        """Reads the arrays of a checkpoint and compares every leaf's crc32.

        Args:
            name: The checkpoint.
            target: Shapes, dtypes and shardings that are expected.

        Raises:
            CheckpointError: If anything is missing, damaged, or of another shape.
        """
        folder, leaves = self._check_files(name)
        self._compare_shapes(folder, leaves, target)
        try:
            state = self._read_arrays(folder / "state", target)
        except Exception as error:  # Orbax has many names for damage.
            first = str(error).strip().splitlines()
            reason = first[0][:200] if first else type(error).__name__
            raise CheckpointError(f"{folder} is damaged: {reason}") from error
        for leaf, entry in leaf_table(jax.device_get(state)).items():
            if entry["crc32"] != leaves[leaf]["crc32"]:
                raise CheckpointError(f"{folder} is damaged: {leaf} has other bytes.")
        return state

    def restore_part(self, name: str, field: str) -> PyTree:
        """Reads the nested dict of arrays that stands in one field of a state.

        Args:
            name: The checkpoint.
            field: Name of the field, such as ``params``.

        Raises:
            CheckpointError: If anything is missing or damaged.
        """
        folder, leaves = self._check_files(name)
        try:
            with ocp.StandardCheckpointer() as reader:
                part = reader.restore(folder / "state")[field]
        except Exception as error:
            reason = type(error).__name__
            raise CheckpointError(f"{folder} is damaged: {reason}.") from error
        for leaf, entry in leaf_table({field: jax.device_get(part)}).items():
            if leaves.get(leaf, {}).get("crc32") != entry["crc32"]:
                raise CheckpointError(f"{folder} is damaged: {leaf} has other bytes.")
        return part

    def _check_files(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Returns a checkpoint's folder and leaf table, its files being whole."""
        folder, manifest = self.directory / name, self.read_manifest(name)
        found, stored = file_table(folder / "state"), manifest["files"]
        if found != stored:
            odd = sorted(f for f in {*found, *stored} if found.get(f) != stored.get(f))
            raise CheckpointError(f"{folder} is damaged: state/{odd[0]} has changed.")
        return folder, manifest["leaves"]

    @staticmethod
    def _compare_shapes(folder: Path, leaves: dict, target: PyTree) -> None:
        shapes = {
            leaf: [list(value.shape), str(value.dtype)]
            for leaf, value in named_leaves(target).items()
        }
        stored = {k: [v["shape"], v["dtype"]] for k, v in leaves.items()}
        if shapes != stored:
            odd = sorted(
                k for k in {*shapes, *stored} if shapes.get(k) != stored.get(k)
            )
            raise CheckpointError(f"{folder} holds another model: {odd[0]} differs.")

    @staticmethod
    def _write_arrays(path: Path, state: PyTree) -> None:
        with ocp.StandardCheckpointer() as writer:
            writer.save(path, state)

    @staticmethod
    def _read_arrays(path: Path, target: PyTree) -> PyTree:
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(path, target)

    def _remove_old(self) -> None:
        """Removes all but the newest, and whatever a kill left behind."""
        kept = self.list()[-self.num_kept :]
        for path in self.directory.iterdir():
            if path.name not in kept:
                (path / MANIFEST).unlink(missing_ok=True)
                fault_point("checkpoint-remove")
                shutil.rmtree(path, ignore_errors=True)


def file_table(folder: Path) -> dict[str, list[int]]:
    """Returns size and crc32 of every file below a folder, by relative path."""
    table = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            crc = 0
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    crc = zlib.crc32(chunk, crc)
            table[path.relative_to(folder).as_posix()] = [path.stat().st_size, crc]
    return table
