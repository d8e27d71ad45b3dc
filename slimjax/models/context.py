"""What all layers of a tower are given beside the residual stream."""

import dataclasses

import jax
from flax import struct
from jaxtyping import Array, PyTree


@struct.dataclass
class Context:
    """What all layers of a tower are given beside the residual stream.

    Attributes:
        positions: 0, 1, 2 ... in each row, int32 ``[B T]``.
        channels: Gates of the residual stream, ``[D]``.
        segments: Which positions belong together, 0 for padding, int32 ``[B T]``.
        memory: The stream of the tower that cross-attention reads, ``[B S E]``; None
            where its keys and values are in a cache.
        memory_segments: Segments of its positions, ``[B S]``.
        memory_channels: Gates of that stream, ``[E]``.
        domains: Number of the domain of each row, ``[B]``, below 0 for none; None where
            no row has one.
        key: Root of a layer's random numbers.
    """

    positions: PyTree
    channels: PyTree
    segments: PyTree = None
    memory: PyTree = None
    memory_segments: PyTree = None
    memory_channels: PyTree = None
    domains: PyTree = None
    key: PyTree = None

    def of_layer(self, number: int | Array) -> "Context":
        """Returns what one layer is given: random numbers of its own."""
        if self.key is None:
            return self
        return dataclasses.replace(self, key=jax.random.fold_in(self.key, number))
