"""``model.packed.safetensors``: the finished weights, at their bits."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from jaxtyping import PyTree

from slimjax.errors import CheckpointError
from slimjax.nn.packing import FORMAT, pack, unpack
from slimjax.nn.quantize import Precision
from slimjax.store.files import write_atomic


def write_packed(
    path: Path,
    weights: PyTree,
    names: PyTree,
    precision: Precision | None = None,
    group_size: int = 0,
    steps: Mapping[tuple[str, ...], np.ndarray] | None = None,
) -> int:
    """Writes the weights and returns the size of the file in bytes; see `pack`."""
    content = pack(weights, names, precision, group_size, steps)
    write_atomic(path, content)
    return len(content)


def read_packed(path: Path) -> PyTree:
    """Returns the weights of a packed file, float32, by nested names.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    try:
        content = path.read_bytes()
        if _read_metadata(content).get("format") != FORMAT:
            raise CheckpointError(f"{path} is not of format {FORMAT}.")
        return unpack(content)
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        RecursionError,
        zlib.error,
    ) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error


def _read_metadata(content: bytes) -> dict[str, str]:
    """Returns the metadata in the header of a safetensors file.

    Raises:
        ValueError: If there is no header.
    """
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= len(content) - 8:
        raise ValueError("its header is longer than the file")
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}
