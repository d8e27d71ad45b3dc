"""The folder of a run: which file is where, and when it may be written to."""

import os
import re
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slimjax.errors import CheckpointError, ConfigError
from slimjax.paths import check_utf8, user_path
from slimjax.store.lock import lock_folder
from slimjax.store.manifest import list_names
from slimjax.store.metrics_log import JsonLines
from slimjax.store.owner import check_owner

if TYPE_CHECKING:
    from slimjax.store.checkpoint import Checkpoints


LOGGED = {"params": "params", "flops": "flops_per_token", "bytes": "bytes"}
"""Names of the measures of ``config.objective.size`` in logs and reports."""

IMPORTED = "imported"
"""What ``report.json`` has of a model that was made elsewhere: where it is from."""


LEFTOVER = re.compile(
    r"\.(config|architecture|report|latency|teacher|weights|model\.packed|metrics|seams"
    r"|restarts|(losses|predictions|metrics|images)-\w+)"
    r"\.(json|jsonl|html|safetensors|npz)\.\w+"
)
"""Names of what is being written: of a file of the run, and something at random."""


class RunFolder:
    """Names of the files of a run.

    Attributes:
        root: The folder itself, ``--workdir``.
    """

    def __init__(self, root: str | Path):
        """Touches nothing."""
        self.root = user_path(root, "--workdir")

    config = property(lambda self: self.root / "config.json")
    architecture = property(lambda self: self.root / "architecture.json")
    report = property(lambda self: self.root / "report.json")
    page = property(lambda self: self.root / "report.html")
    packed = property(lambda self: self.root / "model.packed.safetensors")
    weights = property(lambda self: self.root / "weights.safetensors")
    latency = property(lambda self: self.root / "latency.json")
    teacher = property(lambda self: self.root / "teacher.safetensors")
    tokenizer = property(lambda self: self.root / "tokenizer")
    events = property(lambda self: self.root / "events")

    @cached_property
    def metrics(self) -> JsonLines:
        """One object for each logged step."""
        return JsonLines(self.root / "metrics.jsonl")

    @cached_property
    def seams(self) -> JsonLines:
        """One object for each seam, taken or not."""
        return JsonLines(self.root / "seams.jsonl")

    @cached_property
    def restarts(self) -> JsonLines:
        """One object each time that the run continued from an earlier step."""
        return JsonLines(self.root / "restarts.jsonl")

    @cached_property
    def teacher_work(self) -> JsonLines:
        """One object for each piece of a teacher's outcomes that was computed here."""
        return JsonLines(self.root / "teacher.jsonl")

    @cached_property
    def checkpoints(self) -> "Checkpoints":
        """The states to continue from; loads jax."""
        from slimjax.store.checkpoint import Checkpoints

        return Checkpoints(self.root / "checkpoints")

    @property
    def checkpoint_names(self) -> list[str]:
        """The names of those states, oldest first; loads no jax."""
        return list_names(self.root / "checkpoints")

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.is_file()

    def check_writable(self) -> None:
        """Raises `ConfigError` if a run cannot be written here; creates nothing."""
        check_utf8(self.root, "--workdir")
        nearest = self.root.absolute()
        while not nearest.exists():
            nearest = nearest.parent
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise ConfigError(
                f"--workdir={self.root}: {nearest} is not a writable folder."
            )
        present = list(self.root.iterdir()) if self.root.is_dir() else []
        foreign = [path for path in present if not path.name.startswith(".")]
        if foreign and not self.holds_run:
            raise ConfigError(
                f"--workdir={self.root} holds other files, no run; name a new folder."
            )
        for path in present:
            if path.is_symlink():
                raise ConfigError(
                    f"--workdir={self.root}: {path.name} is a link; a run writes to "
                    "its own folder only. Remove the link, or name a new folder."
                )

    def remove_leftovers(self) -> None:
        """Removes files that a kill left half written; call it under the lock."""
        check_owner(self.root)
        for path in self.root.iterdir():
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)

    def check_run(self) -> None:
        """Raises `CheckpointError` if no run was begun here."""
        if not self.holds_run:
            raise CheckpointError(
                f"--workdir={self.root} holds no run: config.json is missing. "
                "Make one with slimjax train."
            )

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other processes from training in this folder; a kill lets go.

        Raises:
            CheckpointError: If another process trains here.
        """
        return lock_folder(self.root)
