"""What a model must know of data: fields of a batch, sizes, lengths, special ids."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

POSITIONS = "positions"
"""Name of the axis along which a row may be cut."""

DOMAIN = "domain"
"""Name of the field that holds the number of each row's domain, below 0 for none."""


@runtime_checkable
class Codec(Protocol):
    """What turns numbers of a field into what people read: a tokenizer, labels."""

    @property
    def fingerprint(self) -> str:
        """Equal for codecs that mean the same."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the codec's own file into `folder`, which exists."""
        ...


@dataclasses.dataclass(frozen=True)
class Field:
    """One array of a batch: the shape of a row, its type, the names of its axes.

    Attributes:
        shape: Shape of one row; ``()`` for one number.
        dtype: Type of the array in a batch. It may be stored in a smaller one.
        axes: A name or None for each axis of a row, such as ``("positions",)``.
        fill: Value of rows that only fill up a batch. It marks what is not a target.
        scale: What stored numbers are multiplied by.
        shift: What is added to them then.

    Examples:
        >>> Field((3,), "int32", ("positions",)).fill_rows(2)
        array([[0, 0, 0],
               [0, 0, 0]], dtype=int32)
    """

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str | None, ...]
    fill: int | float = 0
    scale: float = 1.0
    shift: float = 0.0

    def decode(self, stored: Shaped[np.ndarray, "B ..."]) -> np.ndarray:
        """Returns stored rows as they stand in a batch."""
        rows = np.asarray(stored).astype(self.dtype)
        if self.scale == 1.0 and self.shift == 0.0:
            return rows
        return rows * rows.dtype.type(self.scale) + rows.dtype.type(self.shift)

    def cut(self, length: int, whole: int) -> "Field":
        """Returns the field of rows of which only a part of the positions is there.

        Args:
            length: Positions that are there, in the main tower.
            whole: Positions of whole rows, in the main tower.

        Examples:
            >>> Field((6, 2), "int32", ("positions", None)).cut(2, 3).shape
            (4, 2)
        """
        shape = [
            scale_length(size, length, whole) if axis == POSITIONS else size
            for size, axis in zip(self.shape, self.axes, strict=True)
        ]
        return dataclasses.replace(self, shape=tuple(shape))

    def cut_rows(self, rows: np.ndarray) -> np.ndarray:
        """Returns rows ``[B ...]`` without the positions that the field lacks."""
        return rows[(slice(None), *map(slice, self.shape))]

    def fill_rows(self, num_rows: int) -> np.ndarray:
        """Returns rows that fill up a batch, ``[num_rows, *shape]``."""
        return np.full((num_rows, *self.shape), self.fill, self.dtype)


@dataclasses.dataclass(frozen=True)
class Outline:
    """What a model must know of data, which may not have been read yet.

    Attributes:
        fields: What the arrays of a batch are.
        sizes: Numbers of kinds, such as ``{"vocab": 2048, "classes": 4}``.
        lengths: Positions of a row, by tower; the main tower is ``""``.
        special: Ids with a meaning of their own: ``pad``, ``bos``, ``eos``, ...
        codecs: Tokenizers and label lists, by field, as far as they are known.
        buckets: Lengths of training batches in the main tower, ascending, where they
            differ.
        mean_lengths: Mean positions of a row of training batches, by tower, where they
            differ.
    """

    fields: Mapping[str, Field]
    sizes: Mapping[str, int]
    lengths: Mapping[str, int]
    special: Mapping[str, int]
    codecs: Mapping[str, Codec] = dataclasses.field(default_factory=dict)
    buckets: tuple[int, ...] = ()
    mean_lengths: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def length(self) -> int:
        """Positions of a row in the main tower; a row of features has one."""
        return self.lengths.get("", 1)

    @property
    def priced_lengths(self) -> Mapping[str, int]:
        """Positions by tower for which FLOPs are counted: of the mean training row."""
        return self.mean_lengths or self.lengths

    @property
    def num_positions(self) -> int:
        """Positions of a mean row that a model reads, in all towers; 1 without any."""
        return max(sum(self.priced_lengths.values()), 1)

    @property
    def batch_fields(self) -> list[Mapping[str, Field]]:
        """What the arrays of training batches are, one entry for each length."""
        if not self.buckets:
            return [self.fields]
        whole = self.buckets[-1]
        return [
            {name: field.cut(length, whole) for name, field in self.fields.items()}
            for length in self.buckets
        ]


def scale_length(size: int, length: int, whole: int) -> int:
    """Returns the positions that are left of `size`, where `length` of `whole` are.

    Examples:
        >>> scale_length(10, 2, 3)
        7
    """
    return -(-size * length // whole)
