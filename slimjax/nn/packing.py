"""All weights of a model in one small file, at the bits they are worth.

Few arrays, since each name costs room in a small file:

    table    zlib of JSON: name, shape, bit axis and bit key of every weight; in the
             second format also how many of its axes are read (`slimjax.nn.grids`)
    bits     the bits of the units of each key that is not uniform, 3 bits a unit
    steps    steps between levels, bfloat16's bits, of all rows below 16 bits
    middles  the numbers around which levels lie, likewise; only if groups have them
    codes    the codes of all weights, packed without gaps between rows

Weights stand in the order of their names, and are written and read one at a time. The
header has a digest of all bytes (`slimjax.nn.packed_header`). What
`slimjax.objective.size` counts as ``bytes`` is this file.
"""

import io
import json
import math
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.bitstream import pack_codes, unpack_codes
from slimjax.nn.grids import Grid, Scales, as_grid, spread_units
from slimjax.nn.packed_header import File, write_digest, write_header
from slimjax.nn.packed_parts import Encoded, Part, decode_part, encode_part
from slimjax.nn.quantize import STATES, Precision, bit_axis, bit_key
from slimjax.trees import AxisNames, Path, flatten

MAX_TABLE_BYTES = 1 << 26
"""Length up to which a table is inflated."""

Take = Callable[[str, int, int], np.ndarray]
"""From the name of an array, a start and a stop to what stands between them."""


def pack_into(
    file: File,
    shapes: PyTree,
    names: PyTree,
    precision: Precision,
    read: Callable[[Path], Any],
    grid: Grid | int = 0,
    scales: Mapping[Path, Scales] | None = None,
) -> int:
    """Writes a packed file, one weight after the other, and returns its length.

    Args:
        file: A new file, which can be read as well.
        shapes: Weights, or their shapes, by nested names.
        names: Names of their axes.
        precision: Bits and fit of each unit. A weight may have bits of its own, under
            its path.
        read: Returns a weight.
        grid: Which elements share a step; a number is the size of groups of units.
        scales: Those of weights that lie on their levels already, by path; those of
            others are computed from the weights.

    Raises:
        ValueError: If units that one row reads have different bits.
    """
    grid, fits = as_grid(grid), flatten(precision["fit"])
    bits, parts = flatten(precision["bits"]), list_parts(shapes, names, precision, grid)
    arrays = {
        "bits": _pack_bits(bits).tobytes(),
        "table": make_table(shapes, names, precision, grid),
    }
    num_scales = 2 * sum(part.num_scales(grid) for part in parts)
    lengths = {"steps": num_scales}
    lengths |= {"middles": num_scales} if grid.has_minimum else {}
    lengths |= {name: len(content) for name, content in arrays.items()}
    lengths["codes"] = sum(part.num_bytes for part in parts)
    places = write_header(file, lengths, grid)
    for name, content in arrays.items():
        file.seek(places[name])
        file.write(content)
    for part in parts:
        weight = np.asarray(read(part.path), np.float32)
        fit = part.spread(np.asarray(fits[part.path]))
        own = encode_part(part, weight, fit, grid, (scales or {}).get(part.path))
        for name, content in own.as_bytes():
            file.seek(places[name])
            places[name] += file.write(content)
    write_digest(file)
    return file.seek(0, io.SEEK_END)


def list_parts(
    shapes: PyTree, names: PyTree, precision: Precision, grid: Grid
) -> list[Part]:
    """Returns how a file has each weight, in its order.

    Raises:
        ValueError: If units that one row reads have different bits.
    """
    bits, axes = flatten(precision["bits"]), flatten(names)
    parts = []
    for path, weight in sorted(flatten(shapes).items()):
        own = np.asarray(bits[key_in(bits, path, axes[path])])
        shape, axis = tuple(weight.shape), bit_axis(axes[path])
        num_read = grid.num_read(axes[path])
        rows = spread_units(own, axis, num_read, shape)
        parts.append(Part(path, shape, axis, num_read, rows))
    return parts


def key_in(bits: Container[Path], path: Path, axes: AxisNames) -> Path:
    """Returns where the bits of a weight stand: its own, or those that it shares.

    Examples:
        >>> key_in({("mlp", "mlp"): 4}, ("mlp", "up"), ("embed", "mlp"))
        ('mlp', 'mlp')
        >>> key_in({("mlp", "up"): 3}, ("mlp", "up"), ("embed", "mlp"))
        ('mlp', 'up')
    """
    return path if path in bits else bit_key(path, axes)


def unpack_from(
    take: Take, lengths: Mapping[str, int]
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yields the weights of a packed file, float32, one after the other.

    Args:
        take: Returns a part of one of its arrays.
        lengths: Lengths of these arrays.

    Raises:
        ValueError: If it is damaged.
    """
    table = json.loads(_inflate(take("table", 0, lengths["table"]).tobytes()))
    grid = Grid(table["group"], has_minimum="middles" in lengths)
    most = lengths["codes"] * 8 // min(STATES)
    keys = _unpack_bits(table["keys"], take("bits", 0, lengths["bits"]), most)
    at, kinds = dict.fromkeys(lengths, 0), ["steps", "middles"]

    def following(name: str, count: int) -> np.ndarray:
        start, at[name] = at[name], at[name] + count
        return take(name, start, at[name])

    def encoded(part: Part) -> Encoded:
        count = part.num_scales(grid)
        scales = [following(kind, count) for kind in kinds if kind in lengths]
        return Encoded(following("codes", part.num_bytes), *scales)

    for name, shape, axis, key, *rest in table["weights"]:
        num_read = rest[0] if rest else 0
        if math.prod(shape) > most:
            raise ValueError("the stream of codes is too short")
        bits = spread_units(keys[key], axis, num_read, shape)
        part = Part(tuple(name.split(".")), tuple(shape), axis, num_read, bits)
        yield part.path, decode_part(part, encoded(part), grid)  # None of it is kept.


def make_table(
    weights: PyTree, names: PyTree, precision: Precision, grid: Grid | int
) -> bytes:
    """Returns what is to be known of the weights beside their codes, deflated."""
    bits, axes, grid = flatten(precision["bits"]), flatten(names), as_grid(grid)
    keys = sorted(bits)
    uniform = [
        len(bits[k]) and len(set(np.asarray(bits[k]).tolist())) == 1 for k in keys
    ]
    table = {
        "group": grid.group_size,
        "keys": [
            [len(bits[key]), int(bits[key][0]) if same else 0]
            for key, same in zip(keys, uniform, strict=True)
        ],
        "weights": [
            [
                *(".".join(path), list(weight.shape)),
                *(bit_axis(axes[path]), keys.index(key)),
                *([] if grid.is_plain else [grid.num_read(axes[path])]),
            ]
            for path, weight in sorted(flatten(weights).items())
            for key in [key_in(bits, path, axes[path])]
        ],
    }
    return zlib.compress(json.dumps(table, separators=(",", ":")).encode(), 9)


def _pack_bits(bits: dict) -> np.ndarray:
    """Returns the numbers, in `STATES`, of the bits of units that are not all alike."""
    ragged = [np.asarray(bits[k]) for k in sorted(bits) if len(np.unique(bits[k])) > 1]
    states = np.searchsorted(STATES, np.concatenate([np.zeros(0, np.int32), *ragged]))
    return pack_codes(states[None], np.array([3]))


def _unpack_bits(keys: list, stream: np.ndarray, most: int) -> list[np.ndarray]:
    """Returns the bits of the units of each key, of which none has more than `most`."""
    if any(num_units > most for num_units, _ in keys):
        raise ValueError("the stream of codes is too short")
    num_ragged = sum(num_units for num_units, same in keys if not same)
    states = unpack_codes(stream, np.array([3]), num_ragged)[0]
    rest = iter(np.array(STATES, np.int32)[states])

    def own(num_units: int, same: int) -> Iterator[int]:
        return (same or int(next(rest)) for _ in range(num_units))

    return [np.array(list(own(*key)), np.int32) for key in keys]


def _inflate(data: bytes) -> bytes:
    inflator = zlib.decompressobj()
    table = inflator.decompress(data, MAX_TABLE_BYTES)
    if not inflator.eof:
        raise ValueError("its table does not end")
    return table
