"""Runs in processes of their own, without the seconds that imports take.

The parent imports everything and computes nothing; each run is a fork of it, with its
own devices and threads, and can be killed like any other process.
"""

import contextlib
import gc
import importlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"NPROC": "1", "JAX_NUM_CPU_DEVICES": "1"}

import jax

import slimjax.cli.train
import slimjax.report  # noqa: F401
from slimjax.cli.main import main
from slimjax.run import loop
from slimjax.store import faults

KILLED = -signal.SIGKILL
LATE = ("tensorboardX", "matplotlib.pyplot", "slimjax.report.figures")
"""What a run imports when it comes to it, for seconds."""
TIMEOUT = 1800.0


class Fork:
    """A command in a process of its own.

    Attributes:
        pid: Its number.
        log: What it wrote, stdout and stderr.
    """

    def __init__(
        self,
        argv: list[str],
        log: Path,
        *,
        fault: str = "",
        devices: int = 1,
        before: Callable[[], None] | None = None,
        piped: bool = False,
    ):
        """Begins; `before` is called in the child.

        Args:
            argv: The words after ``slimjax``.
            log: Where its stdout and stderr go.
            fault: Where it is to kill itself, as `slimjax.store.faults` names it.
            devices: Emulated CPU devices.
            before: What else it does before it runs the command.
            piped: Whether another process writes the log, whatever befalls this one's
                files.
        """
        self.log = log
        self.code: int | None = None
        log.unlink(missing_ok=True)
        self._writer: subprocess.Popen | None = None
        if piped:
            with log.open("wb") as file:
                pipe = subprocess.PIPE
                self._writer = subprocess.Popen(["cat"], stdin=pipe, stdout=file)
        self.pid = os.fork()
        if self.pid == 0:
            self._be_child(argv, fault, devices, before)
        if self._writer is not None and self._writer.stdin is not None:
            self._writer.stdin.close()

    def _be_child(
        self,
        argv: list[str],
        fault: str,
        devices: int,
        before: Callable[[], None] | None,
    ) -> None:
        code = 99
        try:
            os.setsid()
            if self._writer is not None and self._writer.stdin is not None:
                handle = self._writer.stdin.fileno()
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                handle = os.open(self.log, flags, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), write_through=True)
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
            os.environ[faults.VARIABLE] = fault
            jax.config.update("jax_num_cpu_devices", devices)
            if before is not None:
                before()
            code = main(argv)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        """Returns the exit code, or None while it runs; minus the signal of a kill."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
            if pid and self._writer is not None:
                self._writer.wait()
        return self.code

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Returns the exit code; one that hangs is killed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            code = self.poll()
            if code is not None:
                return code
            time.sleep(0.02)
        self.kill()
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"{self.log} took more than {timeout:.0f} s")

    def send(self, number: int) -> None:
        """Sends a signal, should it still be there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it as a power cut would."""
        self.send(signal.SIGKILL)

    @property
    def text(self) -> str:
        """What it wrote so far."""
        if not self.log.exists():
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")


def at_steps(actions: dict[int, Callable[[], object]]) -> None:
    """Has this process do something before some of its steps, counted from 1."""
    fault_point, steps = loop.fault_point, iter(range(1, 1 << 30))

    def point(name: str) -> None:
        fault_point(name)
        if name == "step":
            actions.get(next(steps), lambda: None)()

    loop.fault_point = point


def end_self(number: int) -> None:
    """Sends this process a signal."""
    os.kill(os.getpid(), number)


def share_work(folder: Path) -> None:
    """Has all forks share imports and compiled programs, however quickly compiled."""
    for name in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    from slimjax.train import devices

    def keep_all() -> None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    devices.keep_compiled_programs = keep_all
