"""``slimjax launch``: several local processes, one run."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from slimjax.cli.flags import make_parser, parse
from slimjax.errors import ConfigError, ProcessError, SlimjaxError
from slimjax.processes.cluster import LAUNCHER

GRACE_SECONDS = 25.0
"""How long the others may take to notice by themselves that one has died."""

LOOKING_SECONDS = 0.05
NOISE = re.compile(rb"\[Gloo\]|[IWE]\d{4} ")  # Of libraries, at the start of a line.
OURS = b"slimjax: "
STACK = (b"*** ", b"    @ ")
FATAL = re.compile(rb"F\d{4} |E\d{4} .*coordination")  # More lines of it follow.
MAX_QUOTE = 200
MAX_LOCAL = 256  # Processes, and devices of each, on one machine.
LOST = re.compile(r"Task (\d+) heartbeat timeout|sending heartbeats\): *(\d+)")
FOLLOWERS = (ProcessError.exit_code, -signal.SIGABRT)
"""How a process ends that has lost another one."""


def main(argv: Sequence[str]) -> None:
    """Runs a command in several processes, and ends as the first that failed."""
    own, command = _split(argv)
    parser = make_parser(
        "launch",
        "Starts several processes on this machine that train one model together, each "
        "with devices of its own: the rehearsal of a run on several hosts. The output "
        "is that of process 0; signals go to all. If one dies, the others are ended.",
        "slimjax launch --processes=2 -- train --config=configs/tiny_test.py "
        "--workdir=runs/two",
    )
    parser.add_argument("--processes", type=int, required=True, help="how many")
    parser.add_argument(
        "--devices_per_process", type=int, default=1, help="emulated CPU devices each"
    )
    flags = parse(parser, own).flags
    for name in ("processes", "devices_per_process"):
        if not 1 <= getattr(flags, name) <= MAX_LOCAL:
            raise ConfigError(
                f"--{name}={getattr(flags, name)} must be in [1, {MAX_LOCAL}]."
            )
    if not command or command[0] != "train":
        raise ConfigError(
            "slimjax launch needs what to run after --, such as: slimjax launch "
            "--processes=2 -- train --config=FILE --workdir=DIR."
        )
    command = [sys.executable, "-m", "slimjax", *command]
    command += ["--json"] * flags.json
    Launch(command, flags.processes, flags.devices_per_process).run()


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments before and after ``--``."""
    own = list(argv)
    if "--" not in own:
        return own, []
    place = own.index("--")
    return own[:place], own[place + 1 :]


@dataclasses.dataclass(eq=False)
class Member:
    """One process.

    Attributes:
        rank: Its number.
        popen: The process itself.
        last_words: The end of its stderr.
    """

    rank: int
    popen: subprocess.Popen
    last_words: deque = dataclasses.field(default_factory=lambda: deque(maxlen=20))
    is_ended: bool = False  # By the launcher.


class Launch:
    """The processes of one run, from their start to the last one's end."""

    def __init__(self, command: Sequence[str], num_processes: int, num_devices: int):
        """Starts all of them; each learns from its environment which one it is."""
        port, self.members, self.deaths = _find_port(), [], []
        for rank in range(num_processes):
            environment = os.environ | {
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
                "JAX_NUM_PROCESSES": str(num_processes),
                "JAX_PROCESS_ID": str(rank),
                "JAX_NUM_CPU_DEVICES": str(num_devices),
                "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS") or "cpu",
                LAUNCHER: str(os.getpid()),
                "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL") or "3",
            }
            popen = subprocess.Popen(
                list(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # A terminal's signals reach it once, by us.
            )
            self.members.append(Member(rank, popen))
        self.threads = [
            threading.Thread(target=_forward, args=(member.popen.stderr, member))
            for member in self.members
        ]
        first = self.members[0].popen.stdout
        self.threads.append(threading.Thread(target=_forward, args=(first, None)))

    def run(self) -> None:
        """Waits for all.

        Raises:
            SystemExit: If all of them failed alike, with their exit code.
            SlimjaxError: If one of them failed, with its exit code.
        """
        for thread in self.threads:
            thread.start()
        with self._forwarding_signals():
            self._wait()
        for thread in self.threads:
            thread.join()
        codes = {member.popen.returncode for member in self.members}
        if len(codes) == 1 and max(codes) > 0:
            raise SystemExit(max(codes))  # Process 0 has reported why.
        if self.deaths:
            raise self._describe()

    def _wait(self) -> None:
        alive, deadline = list(self.members), None
        while alive:
            time.sleep(LOOKING_SECONDS)
            for member in [m for m in alive if m.popen.poll() is not None]:
                alive.remove(member)
                if member.popen.returncode != 0:
                    self.deaths.append(member)
                    deadline = deadline or time.monotonic() + GRACE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                for member in alive:
                    member.is_ended = True
                    member.popen.kill()

    def _describe(self) -> SlimjaxError:
        """Returns an error that names the process that failed first, and how."""
        own = [m for m in self.deaths if not m.is_ended]
        followers = [m for m in own if m.popen.returncode in FOLLOWERS]
        cause = next((m for m in own if m not in followers), own[0])
        code = cause.popen.returncode
        if code < 0:
            text = f"rank {cause.rank} was killed by {signal.Signals(-code).name}"
        else:
            text = f"rank {cause.rank} ended with exit code {code}"
        silent = [m.rank for m in self.members if m.is_ended and own == followers]
        text += _quote(cause, silent) if cause.rank or code < 0 else ""
        ended = [
            str(m.rank)
            for m in self.members
            if m in self.deaths and (m.is_ended or m.popen.returncode != code)
        ]
        text += f"; rank {', '.join(ended)} ended with it" if ended else ""
        error = SlimjaxError(text + ". Run the same command again to continue.")
        error.exit_code = code if code > 0 else 128 - code
        return error

    @contextmanager
    def _forwarding_signals(self) -> Iterator[None]:
        def forward(number: int, _: object) -> None:
            for member in self.members:
                if member.popen.poll() is None:
                    member.popen.send_signal(number)

        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, forward) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _forward(stream: IO[bytes], member: Member | None) -> None:
    """Passes on what process 0 writes, without its libraries' noise.

    Args:
        stream: What to read from.
        member: Whose stderr it is; None for the stdout of process 0.
    """
    with stream:
        _pass_on(stream, member)


def _pass_on(stream: IO[bytes], member: Member | None) -> None:
    target = sys.stdout if member is None else sys.stderr
    is_fatal = False
    for line in stream:
        text = line.decode(errors="replace")
        if member is not None and not line.startswith(STACK):
            member.last_words.append(text.strip())
        is_fatal = is_fatal or bool(FATAL.match(line))
        if (is_fatal and not line.startswith(OURS)) or NOISE.match(line):
            continue
        if member is None or member.rank == 0:
            target.write(text)
            target.flush()


def _quote(member: Member, silent: list[int]) -> str:
    """Returns the last line that a process wrote of its failure, if it wrote any.

    Args:
        member: The process.
        silent: Ranks that neither failed nor noticed that another one did.
    """
    lines = [line for line in member.last_words if line]
    if not lines or member.popen.returncode == -signal.SIGKILL:
        return ""
    if lost := LOST.search(" ".join(lines)):
        return f" (rank {lost[1] or lost[2]} gave no sign of life)"
    if silent and member.popen.returncode == -signal.SIGABRT:
        return f" (rank {', '.join(map(str, silent))} gave no sign of life)"
    return f" ({lines[-1].removeprefix('slimjax: ').rstrip('.')[:MAX_QUOTE]})"


def _find_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
