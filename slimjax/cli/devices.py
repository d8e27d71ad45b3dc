"""What every command that computes sets up first."""

import os
from pathlib import Path


def prepare_devices() -> None:
    """Keeps compiled programs from one run to the next, in the user's cache folder.

    ``SLIMJAX_COMPILATION_CACHE=0`` turns it off. The folder holds executables, so it
    is readable by its owner alone.
    """
    import jax

    if os.environ.get("SLIMJAX_COMPILATION_CACHE", "1") == "0":
        return
    root = os.environ.get("SLIMJAX_CACHE") or Path.home() / ".cache" / "slimjax"
    folder = Path(root) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # A machine without a home computes as well, only later.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
