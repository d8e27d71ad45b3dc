"""Faults of disks and files: full, failing, damaged, malformed, hostile."""

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import damage
import hostile
import malformed
from bench import OFTEN, Bench, Fault, hash_of
from forks import Fork, at_steps
from runs import Says, make_run, state_of

from slimjax.store.run_folder import RunFolder
from slimjax.trees import hash_tree


def limit_files(first: int, last: int) -> None:
    """Has writes beyond 64 bytes fail for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    at_steps({first: lambda: limit(64), last: lambda: limit(soft)})


def fill_disk(disk: Path, first: int, last: int) -> None:
    """Has a small disk be full for a while."""

    def fill() -> None:
        with (disk / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    at_steps({first: fill, last: (disk / "ballast").unlink})


def fail_writes(bench: Bench, random: Random, i: int) -> str:
    """Fills a small disk, or has writes fail, for some steps, or to the end."""
    disk, expected = bench.folder / "disk", bench.expected(*OFTEN)
    first = random.randint(2, 18)
    to_the_end = i % 4 == 3
    last = 999 if to_the_end else random.randint(first + 3, 23)
    disk.mkdir(exist_ok=True)
    is_mounted = i % 2 == 0 and _mount(disk)
    before = lambda: limit_files(first, last)
    if is_mounted:
        before = lambda: fill_disk(disk, first, last)
    try:
        return _check_writes(bench, disk / "run", expected, to_the_end, before)
    finally:
        if is_mounted:
            subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk)


def _mount(disk: Path) -> bool:
    """Returns whether there is now a disk of 8 MB; that takes the right to mount."""
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _check_writes(
    bench: Bench,
    workdir: Path,
    expected: str,
    to_the_end: bool,
    before: Callable[[], None],
) -> str:
    log = bench.folder / "writes.log"
    fork = Fork(bench.argv(workdir, *OFTEN), log, before=before, piped=True)
    code, text = fork.wait(), fork.text
    if "Traceback" in text or "cannot be written" not in text:
        return f"not told in one line: {text[-600:]!r}"
    if to_the_end:
        if code != 2 or RunFolder(workdir).report.exists():
            return f"ends with {code} though its last save failed"
        (workdir.parent / "ballast").unlink(missing_ok=True)
        again = Fork(bench.argv(workdir, *OFTEN), log)
        code, text = again.wait(), again.text
        if "is damaged" in text:
            return f"an old checkpoint is not whole: {text[-300:]!r}"
    if code:
        return f"ended with {code}: {text[-300:]!r}"
    return "" if hash_of(workdir) == expected else "another hash"


DAMAGES_A_CHILD = 25


def damage_all(texts: str, root: str, first: int, seeds: int) -> dict[str, str]:
    """Returns what was wrong, by the number of the case."""
    from slimjax.run import start
    from slimjax.run.resume import begin_or_resume
    from slimjax.tasks.lm import load

    run, folder = make_run(texts), RunFolder(root)
    if not folder.report.is_file():
        start.train(run, root, display=Says())
    data = load(run.data)
    hashes = {}
    names = folder.checkpoints.list()
    for name in names:
        stage = begin_or_resume(run, folder, data, Says())[0]
        hashes[name] = hash_tree(
            folder.checkpoints.restore(name, stage.abstract_checkpoint)
        )
    return {
        str(i): _damage(run, data, folder, hashes, i)
        for i in range(first, first + seeds)
    }


def _damage(run, data, folder: RunFolder, hashes: dict[str, str], i: int) -> str:
    names, random = sorted(hashes), Random(i)
    way = damage.WAYS[i % len(damage.WAYS)]
    with tempfile.TemporaryDirectory() as place:
        copy = RunFolder(Path(place) / "run")
        shutil.copytree(folder.root, copy.root)
        way(copy.checkpoints.path(names[-1]), random)
        says, wrong = Says(), ""
        try:
            state = state_of(run, copy, data, says)
        except Exception as error:
            return f"{way.__name__}: {type(error).__name__}: {error}"
        found = names[-1] if int(state.step) == int(names[-1][:8]) else names[-2]
        told = [line for line in says.lines if names[-1] in line]
        if hash_tree(state) != hashes[found]:
            wrong = "silently wrong"
        elif len(told) != (found != names[-1]) or any("\n" in line for line in told):
            wrong = f"told as {told}"
        return f"{way.__name__}: {wrong}" if wrong else ""


def damage_once(bench: Bench, random: Random, i: int) -> str:
    """Damages the newest of several checkpoints, many cases to a process."""
    del random
    first = i - i % DAMAGES_A_CHILD
    key = f"damage-{first}"
    known = bench.__dict__.setdefault("answers", {})
    if key not in known:
        root = str(bench.folder / "damage")
        known[key] = bench.ask(
            damage_all, str(bench.texts), root, first, DAMAGES_A_CHILD
        )
    return known[key][str(i)]


def meet_malformed(run: str) -> list[str]:
    """Returns the outcome of every malformed input, with what it took."""
    outcomes, top = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as place:
        for case in malformed.all_cases(Path(place), Path(run)):
            start = time.process_time()
            told = case.outcome()
            seconds = time.process_time() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if not told and seconds > 5:
                told = f"{case.name} takes {seconds:.1f} s"
            if not told and peak - top > 1 << 20:
                told = f"{case.name} takes {(peak - top) >> 10} MB"
            top = max(top, peak)
            outcomes.append(told)
    return outcomes


def meet_one_malformed(bench: Bench, random: Random, i: int) -> str:
    """Tells of one of the malformed inputs, all of which one process meets."""
    del random
    known = bench.__dict__.setdefault("answers", {})
    if "malformed" not in known:
        bench.expected()
        known["malformed"] = bench.ask(meet_malformed, str(bench.plain()))
    return known["malformed"][i]


def be_hostile(bench: Bench, random: Random, i: int) -> str:
    """Attacks by a hostile folder."""
    del random
    names = list(hostile.ATTACKS)
    bench.expected()
    run = str(bench.plain())
    place = bench.folder / f"hostile-{i}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    name = names[i % len(names)]
    told = bench.ask(_harm, name, run, str(place))
    log = (bench.folder / "ask.log").read_text(errors="replace")
    shutil.rmtree(place)
    return f"{name}: {told}" if told else ("a traceback" if "Traceback" in log else "")


def _harm(name: str, run: str, place: str) -> str:
    return hostile.harm_of(name, Path(run), Path(place))


CYCLES, WAYS = 300, ("save and restore", "save", "restore")


def cycle(texts: str, root: str, count: int, way: str) -> dict[str, list[int]]:
    """Returns descriptors and kilobytes held after each save, restore, or both."""
    import gc

    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.devices import prepare_devices
    from slimjax.train.stage import make_stage
    from slimjax.train.state import init_params

    prepare_devices()
    run, held = make_run(texts), {"descriptors": [], "kilobytes": []}
    stage = make_stage(expected_blueprint(run))
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    expected, checkpoints = hash_tree(state), RunFolder(root).checkpoints
    name = ""
    for step in range(count):
        if "save" in way or not name:
            name = checkpoints.save(state, {"history": {}}, step, 0)
            checkpoints.wait()
        if "restore" in way:
            state = checkpoints.restore(name, stage.abstract_checkpoint)
        gc.collect()
        held["descriptors"].append(len(os.listdir("/proc/self/fd")))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held["kilobytes"].append(pages * resource.getpagesize() // 1024)
    if hash_tree(state) != expected:
        raise RuntimeError("the state has changed")
    return held


def cycle_often(bench: Bench, random: Random, i: int) -> str:
    """Saves, restores, or both, 300 times."""
    del random
    root, way = bench.folder / "cycles", WAYS[i]
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    held = bench.ask(cycle, str(bench.texts), str(root), CYCLES, way)
    grown = {name: values[-1] - values[30] for name, values in held.items()}
    for name, amount in grown.items():
        bench.note(f"{name} more, {way}", amount)
    if grown["descriptors"] > 0 or grown["kilobytes"] > 10_000:
        return f"{way}: grown by {grown}"
    return ""


FILES = (
    Fault(
        "disk",
        "disk full and write errors during saves, then freed, or to the end",
        "training goes on, next save works, old checkpoints whole, no success with "
        "its last save failed",
        20,
        fail_writes,
    ),
    Fault(
        "damage",
        f"damaged checkpoint: {len(damage.WAYS)} ways, over every file",
        "found by digest, one line, falls back, 0 silent",
        500,
        damage_once,
    ),
    Fault(
        "malformed",
        "malformed input to every command and loader",
        "exit 2, one line, < 5 s, < 1 GB, 0 tracebacks, 0 hangs",
        1000,
        meet_one_malformed,
    ),
    Fault(
        "hostile",
        "hostile files: pickle, yaml tags, paths with .., huge headers, links out",
        "0 executions, 0 writes outside",
        len(hostile.ATTACKS),
        be_hostile,
    ),
    Fault(
        "cycles",
        f"{CYCLES} cycles of save and restore, of saves alone, of restores alone",
        "memory and descriptors flat: no more descriptors and less than 10 MB more "
        f"after {CYCLES} than after 30",
        len(WAYS),
        cycle_often,
    ),
)
