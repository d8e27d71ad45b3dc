"""Checkpoints that are whole or do not count.

A checkpoint is a folder ``STEP.SEAM`` with the arrays in ``state/``, written by Orbax,
and ``manifest.json``, written last: without its manifest a folder is not a checkpoint.
STEP counts steps taken, SEAM seams passed, so that the states before and after a seam
stand side by side. To remove a checkpoint, its manifest goes first.

Arrays are copied to the host, then written while training goes on. Size and crc32 of
every file, shape, dtype and crc32 of every leaf, and a crc32 of all that, stand in the
manifest, which is put in its place once everything else is on the disk: files are
compared before Orbax reads them, leaves after.
"""

import contextlib
import shutil
import threading
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from slimjax import processes
from slimjax.errors import (
    CheckpointError,
    LostClaimError,
    ProcessError,
    UnreadableError,
)
from slimjax.store.faults import fault_point
from slimjax.store.files import reason_of, sync_folder, unread, write_json
from slimjax.store.keep import Keep, Kept
from slimjax.store.leaves import compare_leaves, compare_shapes, host_copy
from slimjax.store.manifest import (
    MANIFEST,
    NAME,
    file_table,
    list_names,
    list_unfinished,
    name_of,
    read_manifest,
    seal,
)
from slimjax.store.orbax import begin_to_write, read_arrays
from slimjax.store.owner import check_owner
from slimjax.trees import leaf_table

NOT_NOW = OSError, LostClaimError, UnreadableError
"""What keeps old checkpoints from being removed."""


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        directory: Where they are.
        keep: Which of them stay.
        last: Name of the newest save that has not failed, or of what was restored.
    """

    def __init__(self, directory: Path, keep: Keep | None = None):
        """Creates nothing yet."""
        self.directory, self.keep = directory.absolute(), keep or Keep()
        self._writing: threading.Thread | None = None
        self._failure: str = ""
        self.last: str = ""
        self._damaged: set[str] = set()

    def unfinished(self) -> list[str]:
        """Returns the names of folders without a manifest, oldest first."""
        return list_unfinished(self.directory)

    def list(self) -> list[str]:
        """Returns the names of all checkpoints not known as damaged, oldest first."""
        return [n for n in list_names(self.directory) if n not in self._damaged]

    def save(
        self, state: PyTree, manifest: dict[str, Any], step: int, seam: int
    ) -> str:
        """Begins to write a checkpoint; it counts, and those too old go, later.

        A save that is still being written is waited for first. A failure is raised by
        `wait`.

        Args:
            state: Arrays only; they are copied before this returns.
            manifest: What else is needed to continue; plain data. A finite number at
                ``valid_error`` makes it a candidate for the best.
            step: Steps taken so far.
            seam: Seams passed so far.

        Returns:
            The checkpoint's name.

        Raises:
            CheckpointError: If the save before this one has failed.
            ProcessError: If another process does not come to save its part.
            LostClaimError: If another process has taken the folder over.
        """
        self.wait()
        name = name_of(step, seam)
        if name == self.last:
            return name
        folder = self.directory / name
        entry = {"step": step, "seam": seam, **manifest}
        try:
            fault_point("checkpoint-before")
            if processes.is_first():
                _remove(folder)
            processes.barrier("a checkpoint")
            writer = begin_to_write(folder / "state", state)
            host = jax.tree.map(host_copy, state)
        except (ProcessError, LostClaimError):
            raise
        except Exception as error:  # Orbax has many names for a full disk.
            self._fail(folder, error)
            return name
        self.last = name
        finish = lambda: self._finish(writer, folder, host, entry)
        self._writing = threading.Thread(target=finish, name="checkpoint", daemon=True)
        self._writing.start()
        return name

    @property
    def is_writing(self) -> bool:
        """Whether a save has not come to its end."""
        return self._writing is not None and self._writing.is_alive()

    def wait(self) -> None:
        """Returns when the last save is whole.

        Raises:
            CheckpointError: If it could not be written; raised once.
            LostClaimError: If that is since another process has the folder now.
        """
        processes.barrier("the end of a save")
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        failures = [f for f in processes.exchange("a save", self._failure) if f]
        if failures:
            self._failure = self.last = ""
            check_owner(self.directory)
            raise CheckpointError(failures[0])

    def restore(self, name: str, target: PyTree) -> PyTree:
        """Reads the arrays of a checkpoint and compares every leaf's crc32.

        All processes call this; each compares a share of the files.

        Args:
            name: The checkpoint.
            target: Shapes, dtypes and shardings that are expected.

        Raises:
            UnreadableError: If memory or the file system does not let it be read.
            CheckpointError: If anything is missing, damaged, or of another shape.
        """
        with processes.together(f"the files of {name}"):  # Else some wait in Orbax.
            folder, leaves = self._check_files(name, is_shared=True)
            compare_shapes(folder, leaves, target)
        state = read_arrays(folder / "state", target)
        compare_leaves(folder, leaves, state)
        self.last = name
        return state

    def restore_part(self, name: str, field: str) -> PyTree:
        """Reads the nested dict of arrays that stands in one field of a state.

        Args:
            name: The checkpoint.
            field: Name of the field, such as ``params``.

        Raises:
            CheckpointError: If anything is missing or damaged.

        Returns:
            The dict; None for a field without arrays.
        """
        folder, leaves = self._check_files(name)
        if not any(leaf.split(".")[0] == field for leaf in leaves):
            return None
        part = read_arrays(folder / "state")[field]
        compare_leaves(folder, leaves, {field: part})
        return part

    def path(self, name: str) -> Path:
        """Returns the folder of a checkpoint."""
        return self.directory / name

    def distrust(self, name: str) -> None:
        """Leaves a damaged checkpoint out; it goes with the next save that works."""
        self._damaged.add(name)

    def set_aside(self) -> Path:
        """Renames the whole folder, for a fresh start, and returns where it is now."""
        number = 1
        while (aside := self.directory.with_name(f"checkpoints.{number}")).exists():
            number += 1
        processes.barrier("a fresh start")  # All have looked.
        if processes.is_first():
            self.directory.rename(aside)
        self._damaged.clear()
        return aside

    def read_manifest(self, name: str) -> dict[str, Any]:
        """Returns a checkpoint's manifest.

        Raises:
            CheckpointError: If it is damaged or of another format.
        """
        return read_manifest(self.directory / name)

    def _check_files(
        self, name: str, *, is_shared: bool = False
    ) -> tuple[Path, dict[str, Any]]:
        """Returns a checkpoint's folder and leaf table, its files being whole.

        Args:
            name: The checkpoint.
            is_shared: Whether each process compares a share; all list the files.
        """
        folder, manifest = self.directory / name, self.read_manifest(name)
        stored, step = manifest["files"], processes.count() if is_shared else 1
        own = {*sorted(stored)[processes.rank() % step :: step]}
        others = {file: entry for file, entry in stored.items() if file not in own}
        try:
            found = file_table(folder / "state", known=others)
        except OSError as error:
            raise unread(folder, error) from error
        if found != stored:
            odd = sorted(f for f in {*found, *stored} if found.get(f) != stored.get(f))
            what = "is missing" if odd[0] not in found else "has changed"
            raise CheckpointError(f"{folder} is damaged: state/{odd[0]} {what}.")
        return folder, manifest["leaves"]

    def _finish(
        self, writer: Any, folder: Path, host: PyTree, entry: dict[str, Any]
    ) -> None:
        """Waits for the arrays, seals the checkpoint, then removes old ones."""
        try:
            with writer:
                writer.wait_until_finished()
            fault_point("checkpoint-arrays")
            if not processes.is_first():
                return
            entry |= {"leaves": leaf_table(host)}
            entry |= {"files": file_table(folder / "state", sync=True)}
            sync_folder(folder)
            fault_point("checkpoint-before-manifest")
            write_json(folder / MANIFEST, seal(entry))
            sync_folder(self.directory)
            self._damaged.discard(folder.name)
            fault_point("checkpoint-manifest")
        except Exception as error:  # Whatever it is, training continues.
            self._fail(folder, error)
            return
        with contextlib.suppress(*NOT_NOW):  # The next time, then.
            self._remove_old(folder.name)

    def _fail(self, folder: Path, error: Exception) -> None:
        self.last = ""
        self._failure = f"{folder} cannot be written: {reason_of(error)}."
        with contextlib.suppress(*NOT_NOW):
            _remove(folder)

    def _remove_old(self, newest: str) -> None:
        """Removes all but what is kept, and whatever a kill left behind.

        A checkpoint goes only by what was read of it, and the newest one never.
        """
        found, stay = [], {newest}
        for name in self.list():
            try:
                manifest = self.read_manifest(name)
            except UnreadableError:
                stay.add(name)
                continue
            except CheckpointError:
                continue  # It goes.
            error = manifest.get("valid_error")
            found.append(Kept(name, error if isinstance(error, float) else None))
        stay |= self.keep.choose(found)
        for path in self.directory.iterdir():
            if NAME.fullmatch(path.name) and path.name not in stay:
                _remove(path)
        fault_point("checkpoint-removed")


def _remove(folder: Path) -> None:
    """Removes a checkpoint, the manifest first; of a link, the link alone."""
    check_owner(folder)
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        (folder / MANIFEST).unlink(missing_ok=True)
        fault_point("checkpoint-remove")
        shutil.rmtree(folder, ignore_errors=True)
