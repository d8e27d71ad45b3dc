"""``metrics.jsonl``, ``seams.jsonl`` and TensorBoard events: what happened when.

No log ends a run: what cannot be written, since the disk is full, waits.
"""

import contextlib
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from slimjax.processes import is_first
from slimjax.store.files import append_whole, finite, write_atomic


class JsonLines:
    """A file of JSON objects, one per line, in the order of their ``step``."""

    def __init__(self, path: Path):
        """Opens the file for appending, at the first write."""
        self.path, self._waiting = path, b""

    def append(self, entry: dict[str, Any]) -> str:
        """Writes one line, all of it handed to the system before this returns.

        Returns:
            Why it is not written, or nothing; it is then written with the next one.
        """
        self._waiting += (json.dumps(finite(entry), allow_nan=False) + "\n").encode()
        try:
            append_whole(self.path, self._waiting)
        except OSError as error:
            return f"{self.path} cannot be written: {error.strerror}."
        self._waiting = b""
        return ""

    def read(self) -> list[dict[str, Any]]:
        """Returns all whole lines; what is none, as a torn last one, is left out."""
        if not self.path.is_file():
            return []
        entries = []
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                entries.append(entry)
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
    """TensorBoard's view of the same numbers; where the disk is full, it has gaps."""

    def __init__(self, directory: Path, resumed_step: int):
        """Opens a new event file, which hides older points from `resumed_step` on."""
        from tensorboardX.proto import event_pb2, summary_pb2

        self._events: Any = event_pb2
        self._summaries: Any = summary_pb2
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        self.path = directory / f"{name}.{os.getpid()}"
        if is_first():
            directory.mkdir(exist_ok=True)
        self._write(wall_time=time.time(), file_version="brain.Event:2")
        if resumed_step:
            session = self._events.SessionLog
            self._write(step=resumed_step, session_log=session(status=session.START))

    def append(self, entry: dict[str, Any]) -> None:
        """Adds every number of an entry at its step."""
        summary = self._summaries.Summary
        values = [
            summary.Value(tag=name, simple_value=value)
            for name, value in entry.items()
            if name != "step" and isinstance(value, int | float)
        ]
        now = time.time()
        self._write(wall_time=now, step=entry["step"], summary=summary(value=values))

    def _write(self, **event: Any) -> None:
        """Adds one record: length, its checksum, content, its checksum."""
        from tensorboardX.record_writer import masked_crc32c

        content = self._events.Event(**event).SerializeToString()
        length = struct.pack("<Q", len(content))
        sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
        with contextlib.suppress(OSError):
            append_whole(self.path, length + sums[0] + content + sums[1])
