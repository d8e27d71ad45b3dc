"""Folders of the Hugging Face form, written one tensor at a time."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np

from slimjax.errors import ConfigError, suggest
from slimjax.interop.foreign import Foreign
from slimjax.store.files import write_atomic
from slimjax.store.tensor_file import Entry, write_tensors

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
MOST_OF_FLOAT16 = 65504.0


def check_dtype(dtype: str) -> None:
    """Raises `ConfigError` if ``--dtype`` is none of `DTYPES`."""
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype={dtype!r} is unknown. {suggest(dtype, DTYPES)}")


def write_folder(foreign: Foreign, folder: Path, dtype: str = "float32") -> int:
    """Writes ``config.json``, ``model.safetensors`` and all files of a model.

    Args:
        foreign: The model.
        folder: The folder, which exists.
        dtype: Type of the weights, one of `DTYPES`.

    Returns:
        The length of the file of weights.

    Raises:
        ConfigError: If a number is too large for the type.
    """
    kind = DTYPES[dtype]

    def read(name: str) -> np.ndarray:
        array = foreign.tensors[name].read()
        if dtype == "float16" and np.abs(array).max(initial=0.0) > MOST_OF_FLOAT16:
            raise ConfigError(
                f"--dtype=float16: {name} has numbers above {MOST_OF_FLOAT16:g}. Take "
                "--dtype=bfloat16."
            )
        return array

    entries = {n: Entry(tensor.shape, kind) for n, tensor in foreign.tensors.items()}
    path = folder / "model.safetensors"
    num_bytes = write_tensors(path, entries, read, {"format": "pt"})
    config = {**foreign.config, "dtype": dtype}
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "config.json", text.encode() + b"\n")
    for name, content in foreign.files.items():
        write_atomic(folder / name, content)
    return num_bytes
