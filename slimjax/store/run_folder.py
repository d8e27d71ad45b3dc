"""The folder of a run: what is where, and who may write to it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimjax.errors import CheckpointError, ConfigError
from slimjax.store.checkpoint import Checkpoints
from slimjax.store.metrics_log import JsonLines


class RunFolder:
    """Names of the files of a run.

    Attributes:
        root: The folder itself, ``--workdir``.
    """

    def __init__(self, root: str | Path):
        """Touches nothing."""
        self.root = Path(root)

    config = property(lambda self: self.root / "config.json")
    architecture = property(lambda self: self.root / "architecture.json")
    report = property(lambda self: self.root / "report.json")
    page = property(lambda self: self.root / "report.html")
    packed = property(lambda self: self.root / "model.packed.safetensors")
    teacher = property(lambda self: self.root / "teacher.safetensors")
    tokenizer = property(lambda self: self.root / "tokenizer")
    events = property(lambda self: self.root / "events")

    @property
    def metrics(self) -> JsonLines:
        """One object a logged step."""
        return JsonLines(self.root / "metrics.jsonl")

    @property
    def seams(self) -> JsonLines:
        """One object a seam, taken or not."""
        return JsonLines(self.root / "seams.jsonl")

    @property
    def checkpoints(self) -> Checkpoints:
        """The states to go on from."""
        return Checkpoints(self.root / "checkpoints")

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.is_file()

    def check_writable(self) -> None:
        """Raises `ConfigError` if a run cannot be written here; creates nothing."""
        nearest = self.root.absolute()
        while not nearest.exists():
            nearest = nearest.parent
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise ConfigError(
                f"--workdir={self.root}: {nearest} is no writable folder."
            )
        if self.root.is_dir() and any(self.root.iterdir()) and not self.holds_run:
            raise ConfigError(
                f"--workdir={self.root} holds other files, no run; name a new folder."
            )

    def check_run(self) -> None:
        """Raises `CheckpointError` if no run was begun here."""
        if not self.holds_run:
            raise CheckpointError(
                f"--workdir={self.root} holds no run: config.json is missing. "
                "Make one with slimjax train."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; a kill lets go.

        Raises:
            CheckpointError: If another process trains here.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CheckpointError(
                    f"--workdir={self.root}: another process is training here."
                ) from None
            yield
