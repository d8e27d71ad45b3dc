"""``model.packed.safetensors``: the finished weights, at their bits.

A changed byte is found.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from jaxtyping import PyTree

from slimjax.errors import CheckpointError
from slimjax.nn.grids import Grid, Scales
from slimjax.nn.packed_header import FORMATS, check_digest
from slimjax.nn.packing import pack_into, unpack_from
from slimjax.nn.quantize import FULL, Precision, uniform_precision
from slimjax.processes import is_first
from slimjax.store.files import replacing
from slimjax.store.tensor_file import list_places
from slimjax.trees import Path as Names
from slimjax.trees import flatten, unflatten

DAMAGE = (KeyError, TypeError, ValueError, IndexError, RecursionError, zlib.error)


def write_packed(
    path: Path,
    weights: PyTree,
    names: PyTree,
    precision: Precision | None = None,
    grid: Grid | int = 0,
    scales: Mapping[Names, Scales] | None = None,
    read: Callable[[Names], Any] | None = None,
) -> int:
    """Writes the weights and returns the size of the file in bytes.

    Weights are written one at a time. Of several processes the first one writes, and
    the others only read.

    Args:
        path: The file.
        weights: The weights, or their shapes if `read` is given.
        names: Names of their axes.
        precision: See `pack_into`; None for bfloat16 everywhere.
        grid: See there.
        scales: See there.
        read: Returns a weight; it is called in all processes, in the same order.
    """
    precision = precision or uniform_precision(weights, names, FULL)
    leaves = flatten(weights)
    read = read or leaves.__getitem__
    if not is_first():
        for name in sorted(leaves):
            read(name)
        return 0
    with replacing(path) as file:
        return pack_into(file, weights, names, precision, read, grid, scales)


def read_packed(path: Path) -> PyTree:
    """Returns the weights of a packed file, float32, by nested names.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    return unflatten(dict(iterate_packed(path)))


def iterate_packed(path: Path) -> Iterator[tuple[Names, np.ndarray]]:
    """Yields the weights of a packed file, float32, one after the other.

    All bytes are compared with the digest before the first one.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    try:
        places, metadata = list_places(path)
        if metadata.get("format") not in FORMATS:
            raise CheckpointError(f"{path} is not of format {FORMATS[-1]}.")
        with path.open("rb") as file:
            check_digest(file)

            def take(name: str, start: int, stop: int) -> np.ndarray:
                dtype = np.dtype(DTYPES[places[name].dtype])
                file.seek(places[name].offset + start * dtype.itemsize)
                stop = max(start, min(stop, lengths[name]))
                return np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)

            lengths = {name: place.shape[0] for name, place in places.items()}
            yield from unpack_from(take, lengths)
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except DAMAGE as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error


DTYPES = {"U8": "u1", "U16": "<u2"}
"""Types of the arrays of such a file."""
