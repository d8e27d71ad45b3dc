"""What the faults share: a folder, a corpus, reference runs, and outcomes on disk."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from forks import Fork

from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TINY = ROOT / "configs" / "tiny_test.py"
OFTEN = ("train.save_every_steps=1", "train.log_every_steps=1")


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        name: Of its results.
        title: What is done.
        must: What must hold.
        count: Cases of the long form.
        run: Tries one case; returns what went wrong, or nothing.
        end: What is checked after the last case.
    """

    name: str
    title: str
    must: str
    count: int
    run: Callable[["Bench", Random, int], str]
    end: Callable[["Bench"], str] | None = None


class Bench:
    """Where cases are tried.

    Attributes:
        folder: For runs; emptied by nobody else.
        seconds: The longest time that the present fault is to tell, by name.
    """

    def __init__(self, folder: Path):
        """Writes the texts that all runs learn from."""
        self.folder, self.worst = folder, {}
        self.code = hash_code()  # Other code, other last digits.
        self.texts = folder / "texts"
        self.texts.mkdir(parents=True, exist_ok=True)
        random = Random(0)
        words = ["".join(random.choices("etaoinshrdlu", k=6)) for _ in range(300)]
        for i in range(12):
            lines = [" ".join(random.choices(words, k=11)) for _ in range(150)]
            (self.texts / f"part{i}.txt").write_text("\n\n".join(lines))

    def argv(self, workdir: Path, *changes: str) -> list[str]:
        """Returns the command that trains the tiny config into a folder."""
        return [
            *("train", f"--config={TINY}", f"--workdir={workdir}"),
            f"--config.data.source=text:{self.texts}/*.txt",
            *(f"--config.{change}" for change in changes),
        ]

    def train(self, workdir: Path, *changes: str, **options: Any) -> Fork:
        """Begins a run, or goes on with it."""
        log = workdir.with_suffix(".log")
        return Fork(self.argv(workdir, *changes), log, **options)

    def plain(self, *changes: str) -> Path:
        """Returns the folder of such a run to which nothing happens."""
        name = hashlib.sha256(" ".join(changes).encode()).hexdigest()[:8]
        return self.folder / f"plain-{self.code}-{name}"

    def expected(self, *changes: str) -> str:
        """Returns the hash that such a run ends with when nothing happens to it."""
        workdir = self.plain(*changes)
        if not RunFolder(workdir).report.is_file():
            shutil.rmtree(workdir, ignore_errors=True)
            code = self.train(workdir, *changes).wait()
            if code:
                raise RuntimeError(f"the reference run ends with {code}: {workdir}")
        return hash_of(workdir)

    def note(self, name: str, value: float) -> None:
        """Keeps the largest value."""
        self.worst[name] = max(self.worst.get(name, 0.0), value)

    def ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns what a function returns in a process of its own, as plain data."""
        answer = self.folder / "answer.json"
        answer.unlink(missing_ok=True)

        def answer_and_leave() -> None:
            write_json(answer, function(*args))

        code = Fork(["--version"], self.folder / "ask.log", before=answer_and_leave)
        ended = code.wait()
        if ended:
            raise RuntimeError(f"ended with {ended}: {code.text[-500:]}")
        return json.loads(answer.read_text())


def hash_code() -> str:
    """Returns a name for what the package is now."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "slimjax").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def name_code() -> str:
    """Returns the commit of the package, or the digest of what is in no commit."""

    def git(*words: str) -> subprocess.CompletedProcess:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    if git("status", "--porcelain", "--", "slimjax").stdout:
        return hash_code()
    last = git("log", "-1", "--format=%h", "--abbrev=10", "--", "slimjax")
    return last.stdout.strip() or hash_code()


def hash_of(workdir: Path) -> str:
    return json.loads((workdir / "report.json").read_text())["state_hash"]


def wait_for(fork: Fork, sign: str) -> int | None:
    """Returns None once the log has a sign, or the exit code if that comes first."""
    while sign not in fork.text:
        code = fork.poll()
        if code is not None:
            return code
        time.sleep(0.01)
    return None


def try_cases(
    fault: Fault, bench: Bench, scale: float, results: Path, *, retry: bool = False
) -> None:
    """Tries the cases that have not been tried, and writes each outcome down.

    Args:
        fault: The row.
        bench: Where.
        scale: Part of the long form.
        results: Folder of the outcomes.
        retry: Whether to try failed cases again; what they told stays in the file.
    """
    path = results / f"{fault.name}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    cases, worst = known.get("failures", {}), known.get("worst", {})
    codes, code = known.get("codes", {}), name_code()
    retried = known.get("retried", {})
    bench.worst, total = dict(worst), max(1, round(fault.count * scale))
    start, before = time.monotonic(), known.get("seconds", 0.0)

    def keep() -> None:
        entry = {"name": fault.name, "title": fault.title, "must": fault.must}
        entry |= {"long_form": fault.count, "tried": len(cases), "failures": cases}
        entry |= {"codes": codes, "retried": retried}
        entry |= {"held": sum(not told for told in cases.values())}
        entry |= {"worst": bench.worst, "seconds": before + time.monotonic() - start}
        write_json(path, entry)

    for i in range(total):
        told = cases.get(str(i))
        if told == "" or (told and not retry):
            continue
        if told:
            retried[str(i)] = [*retried.get(str(i), []), told]
        try:
            cases[str(i)] = fault.run(bench, Random(f"{fault.name}-{i}"), i)
        except Exception as error:
            cases[str(i)] = f"{type(error).__name__}: {error}"
        codes[code] = codes.get(code, 0) + 1
        print(f"{fault.name} {i + 1}/{total} {cases[str(i)] or 'held'}", flush=True)
        keep()
    if fault.end is not None:
        told = fault.end(bench)
        if told:
            cases[str(total - 1)] = told
            print(f"{fault.name}: {told}", flush=True)
            keep()
