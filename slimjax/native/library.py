"""Compiling the kernels, once for each CPU, and telling XLA about them."""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from slimjax.paths import cache_root

SOURCES = Path(__file__).parent
OPTIONS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-w")
OPTIONS += ("-fno-math-errno",)  # Else no loop with a square root becomes vectors.
TARGETS = (
    "slimjax_adam",
    "slimjax_add",
    "slimjax_attention_backward",
    "slimjax_attention_forward",
    "slimjax_attention_step",
    "slimjax_cross_entropy_backward",
    "slimjax_cross_entropy_forward",
    "slimjax_mlp_backward",
    "slimjax_mlp_forward",
    "slimjax_mlp_step",
    "slimjax_norm_backward",
    "slimjax_norm_forward",
    "slimjax_products_backward",
    "slimjax_products_forward",
    "slimjax_rows_product",
    "slimjax_square_sum",
)
SECONDS_TO_COMPILE = 300
SECONDS_REMEMBERED = 24 * 3600

_switched_off = False


def is_enabled() -> bool:
    """Whether programs traced from here on call the kernels.

    They do on one CPU device with a compiler: XLA cannot spread a foreign call over a
    mesh. The first question may compile, which takes some twenty seconds.
    """
    if _switched_off or os.environ.get("SLIMJAX_NATIVE", "1") == "0":
        return False
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return False
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is not None and device.platform != "cpu":
        return False  # Under ``jax.set_mesh`` of devices that may not be here.
    return register()


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Turns the kernels off for what is traced inside, such as a program for a TPU."""
    global _switched_off
    before, _switched_off = _switched_off, True
    try:
        yield
    finally:
        _switched_off = before


@functools.cache
def register() -> bool:
    """Registers the kernels with XLA; returns whether they could be had."""
    try:
        library = ctypes.CDLL(str(compile_library()))
        for target in TARGETS:
            capsule = jax.ffi.pycapsule(getattr(library, target))
            jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        reason = _last_line(error)
        print(f"slimjax: no native kernels, slower steps: {reason}", file=sys.stderr)
        return False
    return True


def compile_library() -> Path:
    """Returns the shared library for this CPU, compiled unless it is in the cache.

    A compiler that fails or hangs is not asked again for a day: it would hang in every
    process that comes.

    Raises:
        OSError: If there is no compiler, or no folder to write to.
        subprocess.SubprocessError: If it fails or hangs, or did so lately.
    """
    compiler = find_compiler()
    path = cache_folder() / f"kernels-{fingerprint(compiler)}.so"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    failure = path.with_suffix(".failed")
    _raise_again(failure)
    print("slimjax: compiling kernels for this CPU, once ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        library = Path(scratch) / path.name
        try:
            _compile(compiler, library)
        except subprocess.TimeoutExpired:
            reason = f"{compiler} took more than {SECONDS_TO_COMPILE} s"
            failure.write_text(reason, encoding="utf-8")
            raise subprocess.SubprocessError(reason) from None
        except subprocess.SubprocessError as error:
            failure.write_text(_last_line(error), encoding="utf-8")
            raise
        os.replace(library, path)
    failure.unlink(missing_ok=True)
    return path


def _raise_again(failure: Path) -> None:
    """Raises what the compiler failed with lately, saying how to try again."""
    if failure.is_file() and time.time() - failure.stat().st_mtime < SECONDS_REMEMBERED:
        reason = failure.read_text(encoding="utf-8", errors="replace")
        raise subprocess.SubprocessError(
            f"{reason} (not tried again before tomorrow, or {failure} is removed)"
        )


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def find_compiler() -> str:
    """Returns the path of a C++ compiler.

    Raises:
        OSError: If there is none, or the system is not Linux.
    """
    names = (os.environ.get("CXX", ""), "g++", "c++", "clang++")
    found = next((path for name in names if name and (path := shutil.which(name))), "")
    if not found or not sys.platform.startswith("linux"):
        raise OSError("no C++ compiler (g++ or clang++; on Debian: apt install g++).")
    return found


def fingerprint(compiler: str) -> str:
    """Returns what names a library: sources, options, compiler, CPU and jaxlib."""
    parts = [file.read_text(encoding="utf-8") for file in _files("*.h", "*.cc")]
    parts += [*OPTIONS, jax.__version__, _run([compiler, "--version"]), _cpu()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Returns the folder of what is compiled here."""
    return cache_root() / "compiled"


def _compile(compiler: str, library: Path) -> None:
    """Compiles all sources side by side, and links them."""
    include = jax.ffi.include_dir()
    commands, objects = [], []
    for source in _files("*.cc"):
        objects.append(str(library.with_name(source.stem + ".o")))
        command = [compiler, *OPTIONS, "-isystem", include, "-c", str(source)]
        commands.append([*command, "-o", objects[-1]])
    with contextlib.ExitStack() as stack:
        running = []
        for command in commands:
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            running.append(stack.enter_context(process))
            stack.callback(process.kill)  # Of those that run when another one fails.
        for process in running:
            _, errors = process.communicate(timeout=SECONDS_TO_COMPILE)
            if process.returncode:
                raise subprocess.SubprocessError(errors or "the compiler failed")
    _run([compiler, "-shared", *objects, "-o", str(library)])


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS_TO_COMPILE, check=False
    )
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr or f"{command[0]} failed")
    return done.stdout


def _files(*patterns: str) -> list[Path]:
    return sorted(file for pattern in patterns for file in SOURCES.glob(pattern))


def _cpu() -> str:
    """Returns the lines that name the CPU and what it can do."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))
