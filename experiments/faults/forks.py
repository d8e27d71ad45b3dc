"""Runs in processes of their own, without the seconds that imports take.

The parent imports everything and computes nothing; each run is a fork of it, with its
own devices and threads, and can be killed like any other process.
"""

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"NPROC": "1", "JAX_NUM_CPU_DEVICES": "1"}

import jax

import slimjax.cli.train
import slimjax.report
import slimjax.train.loop  # noqa: F401
from slimjax.cli.main import main
from slimjax.store import faults

KILLED = -signal.SIGKILL
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
        before: Callable[[], None] | None = None,
    ):
        """Begins; `before` is called in the child."""
        self.log = log
        self.code: int | None = None
        log.unlink(missing_ok=True)
        self.pid = os.fork()
        if self.pid == 0:
            self._be_child(argv, fault, before)

    def _be_child(
        self, argv: list[str], fault: str, before: Callable[[], None] | None
    ) -> None:
        code = 99
        try:
            os.setsid()
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), write_through=True)
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
            os.environ[faults.VARIABLE] = fault
            if before is not None:
                before()
            code = main(argv)
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


def keep_compiled(folder: Path) -> None:
    """Has all forks share compiled programs, however quickly they compile."""
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    from slimjax.train import devices

    def keep_all() -> None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    devices.keep_compiled_programs = keep_all
