"""``metrics.jsonl``, ``seams.jsonl`` and TensorBoard events: what happened when."""

import json
import os
from pathlib import Path
from typing import Any

from slimjax.store.files import finite, write_atomic


class JsonLines:
    """A file of JSON objects, one a line, in the order of their ``step``."""

    def __init__(self, path: Path):
        """Opens the file for appending, at the first write."""
        self.path = path

    def append(self, entry: dict[str, Any]) -> None:
        """Writes one line, all of it handed to the system before this returns."""
        line = json.dumps(finite(entry), allow_nan=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """Returns all whole lines; a torn last one is left out."""
        if not self.path.exists():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    def cut_back(self, step: int) -> None:
        """Drops the lines after `step`, which a resumed run will write again."""
        self._rewrite([entry for entry in self.read() if entry["step"] <= step])

    def keep_first(self, num_lines: int) -> None:
        """Drops all but the first lines."""
        self._rewrite(self.read()[:num_lines])

    def _rewrite(self, entries: list[dict[str, Any]]) -> None:
        if self.path.exists():
            lines = [json.dumps(entry) + "\n" for entry in entries]
            write_atomic(self.path, "".join(lines).encode())


class Events:
    """TensorBoard's view of the same numbers."""

    def __init__(self, directory: Path, resumed_step: int):
        """Opens a new event file, which hides older points from `resumed_step` on."""
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(directory), purge_step=resumed_step or None)

    def append(self, entry: dict[str, Any]) -> None:
        """Adds every number of an entry at its step."""
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float):
                self.writer.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Writes what is left."""
        self.writer.close()
