"""``model.packed.safetensors``: the finished weights, at their bits."""

import zlib
from pathlib import Path

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
) -> int:
    """Writes the weights and returns the size of the file in bytes."""
    content = pack(weights, names, precision, group_size)
    write_atomic(path, content)
    return len(content)


def read_packed(path: Path) -> PyTree:
    """Returns the weights of a packed file, float32, by nested names.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise CheckpointError(f"{path} is not of format {FORMAT}.")
        return unpack(path.read_bytes())
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except (KeyError, TypeError, ValueError, IndexError, zlib.error) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
