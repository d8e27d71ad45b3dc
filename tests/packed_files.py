"""Packed files in memory, for tests that look into them."""

import io

import safetensors.numpy

from slimjax.nn.packed_header import check_digest
from slimjax.nn.packing import pack_into, unpack_from
from slimjax.nn.quantize import FULL, uniform_precision
from slimjax.trees import flatten, unflatten


def pack(weights, names, precision=None, grid=0, scales=None) -> bytes:
    """Returns the content of a packed file; see `pack_into`."""
    leaves, file = flatten(weights), io.BytesIO()
    precision = precision or uniform_precision(weights, names, FULL)
    pack_into(file, weights, names, precision, leaves.__getitem__, grid, scales)
    return file.getvalue()


def unpack(content: bytes):
    """Returns the weights in a packed file's content, float32, by nested names.

    Raises:
        ValueError: If it is damaged; what safetensors raises, if it is none.
    """
    arrays = safetensors.numpy.load(content)
    check_digest(io.BytesIO(content))
    take = lambda name, start, stop: arrays[name][start:stop]
    lengths = {name: len(array) for name, array in arrays.items()}
    return unflatten(dict(unpack_from(take, lengths)))
