"""One weight of a packed file: its codes, and where their levels lie."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16

from slimjax.nn.bitstream import pack_codes, packed_bytes, unpack_codes
from slimjax.nn.grids import Grid, Scales, spread_units, take_rows, view_rows
from slimjax.nn.quantize import FULL, codes_at, decode, encode, spread
from slimjax.trees import Path

BLOCK = 1 << 20
"""About as many elements are worked on at a time."""


class Part(NamedTuple):
    """How a packed file has a weight.

    Attributes:
        path: Its path.
        shape: Its shape.
        axis: The axis of its units; None for a single unit.
        num_read: See `slimjax.nn.grids.take_rows`.
        bits: Bits of each of its rows.
    """

    path: Path
    shape: tuple[int, ...]
    axis: int | None
    num_read: int
    bits: np.ndarray

    @property
    def length(self) -> int:
        """Elements of a row, E."""
        return math.prod(self.shape) // max(len(self.bits), 1)

    @property
    def num_bytes(self) -> int:
        """Bytes of its codes."""
        return packed_bytes(self.bits, self.length)

    def num_scales(self, grid: Grid) -> int:
        """Returns how many steps it has."""
        return int((self.bits < FULL).sum()) * grid.num_groups(self.length)

    def spread(self, values: Shaped[np.ndarray, " U"]) -> Shaped[np.ndarray, " R"]:
        """Returns values of its rows, from those of its units."""
        return spread_units(values, self.axis, self.num_read, self.shape)

    def blocks(self) -> list[slice]:
        """Returns its rows in blocks whose codes begin with a byte of their own."""
        if len(np.unique(self.bits)) != 1:
            return [slice(0, len(self.bits))]
        size = max(8, BLOCK // max(self.length, 1) // 8 * 8)
        return [slice(i, i + size) for i in range(0, len(self.bits), size)]


class Encoded(NamedTuple):
    """What a packed file holds of a weight.

    Attributes:
        codes: Packed codes.
        steps: Steps of rows below `FULL` bits, as bits of bfloat16.
        middles: The numbers around which levels lie, likewise; None for zero.
    """

    codes: UInt8[np.ndarray, " bytes"]
    steps: UInt16[np.ndarray, " S"]
    middles: UInt16[np.ndarray, " S"] | None = None

    def as_bytes(self) -> Iterator[tuple[str, memoryview]]:
        """Yields what is to be written to each array of the file."""
        for name, values in self._asdict().items():
            if values is not None:
                yield name, memoryview(values.view(np.uint8))


def encode_part(
    part: Part,
    weight: Float[np.ndarray, "..."],
    fit: Float[np.ndarray, " R"],
    grid: Grid,
    given: Scales | None = None,
) -> Encoded:
    """Returns what a packed file holds of a weight.

    Args:
        part: How it lies in the file.
        weight: The weight.
        fit: Factors of the steps of its rows.
        grid: Which elements share a step.
        given: Scales of a weight that lies on its levels already.
    """
    rows, found = take_rows(weight, part.axis, part.num_read), []
    stream, end = np.empty(part.num_bytes, np.uint8), 0
    for block in part.blocks():
        own, bits = rows[block], part.bits[block]
        own_codes, is_full = _to_bfloat16(own), bits[:, None] >= FULL
        if not is_full.all():
            known = None if given is None else _block(given, block)
            coarse, scales = _encode(own, bits, fit[block], grid, known)
            own_codes = np.where(is_full, own_codes, coarse)
            found.append(_block(scales, bits < FULL))
        packed = pack_codes(own_codes, bits)
        stream[end : end + len(packed)] = packed
        end += len(packed)
    middles = _join([_middles(own) for own in found]) if grid.has_minimum else None
    steps = _join([own.steps for own in found])
    return Encoded(stream, steps, middles)


def decode_part(part: Part, encoded: Encoded, grid: Grid) -> Float[np.ndarray, "..."]:
    """Returns the weight that `encode_part` encoded, float32.

    Raises:
        ValueError: If something is missing.
    """
    codes, middles = encoded.codes, encoded.middles
    if len(codes) < part.num_bytes:
        raise ValueError("the stream of codes is too short")
    weight = np.empty(part.shape, np.float32)
    rows = view_rows(weight, part.axis, part.num_read)
    numbers = [encoded.steps, *([] if middles is None else [middles])]
    for block in part.blocks():
        bits = part.bits[block]
        own_codes = unpack_codes(codes, bits, part.length)
        codes = codes[packed_bytes(bits, part.length) :]
        own = rows[block]
        if (bits >= FULL).all():
            own[...] = _from_bfloat16(own_codes).reshape(own.shape)
            continue
        count = int((bits < FULL).sum()) * grid.num_groups(part.length)
        parts = [_from_bfloat16(each[:count]) for each in numbers]
        numbers = [each[count:] for each in numbers]
        levels = _decode(own_codes, parts, bits, grid)
        is_full = bits[:, None] >= FULL
        found = np.where(is_full, _from_bfloat16(own_codes), levels)
        own[...] = found.reshape(own.shape)
    return weight


def _encode(
    rows: np.ndarray,
    bits: np.ndarray,
    fit: np.ndarray,
    grid: Grid,
    given: Scales | None,
) -> tuple[np.ndarray, Scales]:
    """Returns the codes of rows and their scales, the given ones if there are any."""
    if given is None:
        codes, steps = encode(rows, bits, fit, grid.group_size)
        return codes, Scales(steps)
    if given.middles is not None:
        rows = rows - spread(given.middles, rows.shape[1], grid.group_size)
    return codes_at(rows, given.steps, bits, grid.group_size), given


def _decode(
    codes: np.ndarray, parts: list[np.ndarray], bits: np.ndarray, grid: Grid
) -> np.ndarray:
    """Returns the numbers that codes stand for; of `FULL` rows without a meaning."""
    arrays, length = [], codes.shape[1]
    for own in parts:
        whole = np.ones((len(bits), grid.num_groups(length)), np.float32)
        whole[bits < FULL] = own.reshape(whole[bits < FULL].shape)
        arrays.append(whole)
    steps, *middles = arrays
    levels = decode(codes, steps, bits, grid.group_size)
    return levels + spread(middles[0], length, grid.group_size) if middles else levels


def _block(scales: Scales, rows: slice | np.ndarray) -> Scales:
    """Returns the scales of some rows."""
    middles = None if scales.middles is None else scales.middles[rows]
    return Scales(scales.steps[rows], middles)


def _middles(scales: Scales) -> np.ndarray:
    own = scales.middles
    return np.zeros_like(scales.steps) if own is None else own


def _join(parts: list[np.ndarray]) -> np.ndarray:
    """Returns the bits in bfloat16 of numbers, one after the other."""
    flat = [np.asarray(part, np.float32).reshape(-1) for part in parts]
    return _to_bfloat16(np.concatenate([np.zeros(0, np.float32), *flat]))


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Returns the bits of numbers in bfloat16."""
    return values.astype(jnp.bfloat16).view(np.uint16)


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.uint16).view(jnp.bfloat16).astype(np.float32)
