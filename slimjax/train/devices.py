"""What is set up once, before the first computation."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

from slimjax.native.library import cache_folder

TPU_VENDOR, NETWORK = "0x1ae0", "0x02"  # Google, and the class of its other devices.


def prepare_devices() -> None:
    """Sets up memory and the cache of compiled programs; call it before using jax."""
    leave_out_libtpu()
    keep_pages()
    keep_compiled_programs()


def leave_out_libtpu() -> None:
    """Has jax not load libtpu on a machine without a TPU, where it writes warnings.

    It may be installed there for ``slimjax plan``. ``JAX_PLATFORMS`` is left alone
    where it is set, and so is a machine with a plugin for GPUs.
    """
    find = importlib.util.find_spec
    has_plugin = find("jax_plugins") is not None
    if "JAX_PLATFORMS" in os.environ or has_plugin or find("libtpu") is None:
        return
    if not has_tpu():
        import jax

        jax.config.update("jax_platforms", "cpu")


def has_tpu(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether a device of this machine may be a TPU."""
    for folder in devices.glob("*"):
        try:
            vendor = (folder / "vendor").read_text(encoding="ascii").strip()
            kind = (folder / "class").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if vendor == TPU_VENDOR and not kind.startswith(NETWORK):
            return True
    return False


def keep_pages() -> None:
    """Has glibc keep the memory that is freed, instead of giving it back each step.

    A CPU step allocates hundreds of megabytes for its temporaries; mapping them anew
    each time took a quarter of the step. The process keeps its largest size instead.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, -1)
        mallopt(m_arena_max, 1)


def keep_compiled_programs() -> None:
    """Keeps compiled programs from one run to the next, in the user's cache folder.

    ``SLIMJAX_COMPILATION_CACHE=0`` turns it off, ``JAX_COMPILATION_CACHE_DIR`` names
    another folder. The folder holds executables, so it is readable by its owner alone.
    """
    import jax

    is_off = os.environ.get("SLIMJAX_COMPILATION_CACHE", "1") == "0"
    if is_off or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # A machine without a home computes as well, only later.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
