"""Runs that go on on other devices: more, fewer, in one process or two."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from random import Random

import witness
from bench import Bench, Fault
from forks import Fork, at_steps, end_self

STEPS = 50
CHANGES = (f"train.num_steps={STEPS}", "train.log_every_steps=1")
CHANGES += ("resize.every_steps=15", "resize.kv_heads_multiple=2")
CHANGES += ("resize.multiple=2",)
BITS = ("objective.size=bytes", "objective.budget=60%", "quantize.bits=[8]")
BITS += ("optim.ema_decay=0.5",)
KINDS = {"structure": CHANGES, "bits": CHANGES + BITS}
AXES = ("data", "fsdp", "model")
LAYOUTS = {1: (1, 1, 1), 2: (1, 1, 2), 4: (2, 2, 1), 8: (2, 2, 2)}
"""Sizes of the axes, by the number of devices."""

WAYS = tuple(((1, a), (1, b)) for a, b in permutations(LAYOUTS, 2))
WAYS += (((1, 1), (2, 1)), ((2, 1), (1, 1)), ((1, 8), (2, 2)), ((2, 2), (1, 4)))
"""From which processes, and devices in each, to which."""

CLOSE, CLOSE_WITH_BITS = 1e-5, 1e-4
"""By how much losses may differ. A weight in the middle between two levels is rounded
to either, by the last bit of a sum: with bits the loss leaps, if only by a little."""


def change_devices(bench: Bench, random: Random, i: int) -> str:
    """Stops a run on some devices, and has it go on on others: structure, then bits."""
    before, after = WAYS[i]
    for kind in KINDS:
        stop = random.randint(3, STEPS - 3)
        wrong = _move(bench, before, after, stop, kind)
        if wrong:
            return f"{before} to {after} at step {stop}, {kind}: {wrong}"
    return ""


def _move(
    bench: Bench,
    before: tuple[int, int],
    after: tuple[int, int],
    stop: int,
    kind: str,
) -> str:
    alone, workdir = _alone(bench, kind), bench.folder / "meshes"
    _remove(workdir)
    at_stop = partial(at_steps, {stop: partial(end_self, signal.SIGTERM)})
    codes = _train(bench, workdir, before, kind, at_stop)
    if codes != {128 + signal.SIGTERM}:
        return f"asked to stop, it ends with {codes}: {_said(workdir)}"
    codes = _train(bench, workdir, after, kind, lambda: None)
    if codes != {0}:
        return f"goes on with {codes}: {_said(workdir)}"
    return _compare(bench, workdir, alone, kind)


def _alone(bench: Bench, kind: str) -> Path:
    """Returns the folder of such a run that one device has done, never stopped."""
    workdir = bench.folder / f"alone-{bench.code}-{kind}"
    if not (workdir / "report.json").is_file():
        _remove(workdir)
        codes = _train(bench, workdir, (1, 1), kind, lambda: None)
        if codes != {0}:
            raise RuntimeError(f"the reference run ends with {codes}")
    return workdir


def _train(
    bench: Bench,
    workdir: Path,
    place: tuple[int, int],
    kind: str,
    before: Callable[[], None],
) -> set[int]:
    """Returns the exit codes of the processes that train, or go on, on some devices."""
    count, devices = place
    axes = zip(AXES, LAYOUTS[count * devices], strict=True)
    sizes = [f"mesh.{axis}={size}" for axis, size in axes]
    argv, port = bench.argv(workdir, *KINDS[kind], *sizes), _find_port()

    def begin(rank: int) -> None:
        if count > 1:
            os.environ["JAX_COORDINATOR_ADDRESS"] = f"127.0.0.1:{port}"
            os.environ["JAX_NUM_PROCESSES"] = str(count)
            os.environ["JAX_PROCESS_ID"] = str(rank)
        witness.watch(_seen(workdir)[rank])
        if rank == count - 1:
            before()

    forks = [
        Fork(argv, _log(workdir, r), devices=devices, before=partial(begin, r))
        for r in range(count)
    ]
    return {fork.wait() for fork in forks}


def _compare(bench: Bench, workdir: Path, alone: Path, kind: str) -> str:
    """Returns in what a run differs from one that one device has done."""
    changed = witness.changed(_seen(workdir))
    if changed:
        return f"not restored as saved: {changed}"
    (order, rows), (plain_order, plain_rows) = (
        witness.read(_seen(folder)) for folder in (workdir, alone)
    )
    if order != plain_order or rows != plain_rows:
        return "other batches, or in another order"
    entries = (_lines(folder, "metrics") for folder in (workdir, alone))
    worst = max(abs(x["loss"] / y["loss"] - 1) for x, y in zip(*entries, strict=True))
    bench.note(f"of a loss apart, {kind}", worst)
    if worst > (CLOSE if kind == "structure" else CLOSE_WITH_BITS):
        return f"losses are {worst:.1e} apart"
    seams, plain_seams = (_lines(folder, "seams") for folder in (workdir, alone))
    told = [[seam[key] for seam in seams] for key in ("step", "closed", "bits")]
    plain = [[seam[key] for seam in plain_seams] for key in ("step", "closed", "bits")]
    return "" if told == plain else f"other seams: {told}, not {plain}"


def _lines(workdir: Path, name: str) -> list[dict]:
    lines = (workdir / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _seen(workdir: Path) -> list[Path]:
    return [workdir.with_name(f"{workdir.name}-seen-{rank}.jsonl") for rank in range(2)]


def _log(workdir: Path, rank: int) -> Path:
    return workdir.with_name(f"{workdir.name}-{rank}.log")


def _said(workdir: Path) -> str:
    return " ".join(repr(_log(workdir, r).read_text()[-300:]) for r in range(2))


def _remove(workdir: Path) -> None:
    shutil.rmtree(workdir, ignore_errors=True)
    for path in (*_seen(workdir), _log(workdir, 0), _log(workdir, 1)):
        path.unlink(missing_ok=True)


def _find_port() -> int:
    """Returns a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


MESHES = (
    Fault(
        "meshes",
        "mesh and process changes: all ordered pairs of 1, 2, 4, 8 devices, and "
        "2 processes to 1 and back; structure and bits",
        "leaves bit-equal, same batches in the same order, same seams, loss within "
        "1e-5 of one device's, with 8 bits 1e-4",
        len(WAYS),
        change_devices,
    ),
)
