"""The runner of a tune: paths of all folds, then the path to the chosen size.

Its folder holds the run folders of all pieces (`walk`), ``claims/``, ``plan.json``,
``tune.json`` (`record`) and ``log.jsonl``. Pieces that are done are skipped, those that
were interrupted go on, and several processes share them, so the same command continues
a tune, too.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from slimjax.errors import ConfigError
from slimjax.run.progress import Display
from slimjax.run.signals import interrupt
from slimjax.run.start import train
from slimjax.store.files import append_whole, read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import check_same_run
from slimjax.tune.claim_file import LEASE_S
from slimjax.tune.claims import Claims
from slimjax.tune.clearing import Clearing
from slimjax.tune.curve import CHOSEN, REFIT, RESULT
from slimjax.tune.fresh import list_fresh
from slimjax.tune.loading import naming
from slimjax.tune.preparing import Prepared
from slimjax.tune.record import Json, describe_tune
from slimjax.tune.walk import Piece, Walk

SECONDS_BETWEEN_LOOKS = 2.0


@runtime_checkable
class Pieces(Protocol):
    """Runs of which some may wait for others."""

    def pieces(self) -> Iterator[Piece]:
        """Yields the runs that are finished or may be run now."""
        ...

    def is_done(self) -> bool:
        """Whether all are finished."""
        ...


class Tuner:
    """One process's part of a tune."""

    def __init__(
        self,
        prepared: Prepared,
        root: Path,
        *,
        quiet: bool = False,
        lease_s: float = LEASE_S,
        at_second_signal: Callable[[int], None] = interrupt,
    ):
        """Trains nothing yet."""
        self.prepared, self.root, self.quiet = prepared, root, quiet
        self.at_second_signal = at_second_signal
        self.claims = Claims(root / "claims", lease_s=lease_s, say=self.say)
        self._last: Pieces | None = None
        self._clear = Clearing()

    def walk_folds(self) -> Json:
        """Trains the paths of all folds; returns the content of ``tune.json``."""
        walks = self.prepared.walks(self.root)
        fresh = list_fresh(self.prepared, self.root)
        self._finish([*walks, *fresh])
        content = describe_tune(
            self.root,
            self.prepared.facts,
            self.prepared.request.rule_for(self.prepared.facts.task),
            [walk.flops() for walk in walks],
            {name: names for one in fresh for name, names in one.arms().items()},
            self.prepared.notes,
        )
        write_json(self.root / RESULT, content)
        return content

    def refit(self, number: int) -> Walk:
        """Trains the chosen size on all folds; returns its path."""
        walk = self.prepared.refit_walk(self.root, number, REFIT, CHOSEN)
        check_chosen(walk)
        self._finish([walk])
        return walk

    def say(self, text: str) -> None:
        """Prints a line on stderr."""
        Display(quiet=self.quiet).say(text)

    def _finish(self, parts: Sequence[Pieces]) -> None:
        """Runs pieces until all are finished, here or elsewhere."""
        told = ""
        while not all(part.is_done() for part in parts):
            if self._run_one(parts):
                continue
            pieces = (piece for part in parts for piece in part.pieces())
            first = next((piece.name for piece in pieces if not piece.is_done), told)
            if first != told:
                told = first
                self.say(f"waiting for {first}, {self.claims.describe(first)}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _run_one(self, parts: Sequence[Pieces]) -> bool:
        """Runs the first piece that nobody has; returns whether there was one.

        Looks first where the last piece was, so that processes keep to their folds.
        """
        for part in sorted(parts, key=lambda part: part is not self._last):
            for piece in part.pieces():
                if not piece.is_done and self._attempt(piece):
                    self._last = part
                    return True
        return False

    def _attempt(self, piece: Piece) -> bool:
        """Runs or continues a piece; returns False if another process has it."""
        folder = self.root / piece.name

        def do() -> Json:
            finished = RunFolder(folder).report
            if finished.is_file():  # Another process had the claim just before.
                return read_json(finished, dict)
            self.say(f"{piece.name}: {piece.run.train.num_steps:,} steps")
            self._note(piece.name, "begin")
            with naming(piece.name), Display(quiet=self.quiet) as display:
                report = train(
                    piece.run,
                    folder,
                    display=display,
                    at_second_signal=self.at_second_signal,
                    measured=not piece.is_trunk,
                    load=self.prepared.load,
                )
            self._note(piece.name, "end")
            return report

        if self.claims.attempt(piece.name, folder, do) is None:
            return False
        self._clear()
        return True

    def _note(self, name: str, what: str) -> None:
        """Writes down who did what when, which ``tune.json`` leaves out."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        line = json.dumps({"time": now, "piece": name, "what": what, **who})
        append_whole(self.root / "log.jsonl", f"{line}\n".encode())


def check_chosen(walk: Walk) -> None:
    """Refuses to train a size where the model of another one is.

    Raises:
        ConfigError: Naming the folder.
    """
    ((_, name),) = walk.points.items()
    stored = RunFolder(walk.root / name)
    if not stored.holds_run:
        return
    for piece in walk.pieces():
        if piece.name == name:
            with suppress(ConfigError):
                check_same_run(read_json(stored.config), piece.run)
                return
    raise ConfigError(
        f"{walk.root / name} holds a model of another size, chosen before. Move it "
        "away to train this one, or take --refit=none."
    )
