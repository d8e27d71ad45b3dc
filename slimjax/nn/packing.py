"""All weights of a model in one small file, at the bits they are worth.

Four arrays, since each name costs room in a small file:

    table   zlib of JSON: name, shape, bit axis and bit key of every weight
    bits    the bits of the units of each key that is not uniform, 3 bits a unit
    steps   steps between levels, bfloat16's bits, of all units below 16 bits
    codes   the codes of all weights, packed without gaps between units

Weights stand in the order of their names. What `slimjax.objective.size` counts as
``bytes`` is this file.
"""

import json
import zlib
from collections.abc import Container, Iterator, Mapping

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree

from slimjax.nn.bitstream import pack_codes, packed_bytes, unpack_codes
from slimjax.nn.quantize import (
    FULL,
    STATES,
    Precision,
    bit_axis,
    bit_key,
    codes_at,
    decode,
    encode,
    from_rows,
    num_groups,
    to_rows,
    uniform_precision,
)
from slimjax.trees import AxisNames, Path, flatten, unflatten

FORMAT = "slimjax-packed-2"
MAX_TABLE_BYTES = 1 << 26
"""Length up to which a table is inflated."""


def pack(
    weights: PyTree,
    names: PyTree,
    precision: Precision | None = None,
    group_size: int = 0,
    given_steps: Mapping[Path, np.ndarray] | None = None,
) -> bytes:
    """Returns the content of a packed file.

    Args:
        weights: Weights, by nested names.
        names: Names of their axes.
        precision: Bits and fit of each unit; None for bfloat16 everywhere. A weight may
            have bits of its own, under its path.
        group_size: Elements that share a step; 0 for all that a unit has of a weight.
        given_steps: Steps ``[U G]`` of weights that lie on their levels already, by
            path; those of others are computed from the weights.
    """
    given = given_steps or {}
    precision = precision or uniform_precision(weights, names, FULL)
    bits, fits = flatten(precision["bits"]), flatten(precision["fit"])
    axes, steps, codes = flatten(names), [], []
    for path, weight in sorted(flatten(weights).items()):
        own = np.asarray(bits[key_in(bits, path, axes[path])])
        rows = to_rows(np.asarray(weight, np.float32), bit_axis(axes[path]))
        if path in given:
            row_steps = np.asarray(given[path], np.float32)
            row_codes = codes_at(rows, row_steps, own, group_size)
        else:
            fit = np.asarray(fits[path])
            row_codes, row_steps = encode(rows, own, fit, group_size)
        is_full = own[:, None] >= FULL
        codes.append(pack_codes(np.where(is_full, _to_bfloat16(rows), row_codes), own))
        steps.append(row_steps[own < FULL].reshape(-1))
    table = make_table(weights, names, precision, group_size)
    arrays = {
        "table": np.frombuffer(table, np.uint8),
        "bits": _pack_bits(bits),
        "steps": _to_bfloat16(np.concatenate(steps)).astype(np.uint16),
        "codes": np.concatenate(codes),
    }
    return safetensors.numpy.save(arrays, metadata={"format": FORMAT})


def key_in(bits: Container[Path], path: Path, axes: AxisNames) -> Path:
    """Returns where the bits of a weight stand: its own, or those that it shares.

    Examples:
        >>> key_in({("mlp", "mlp"): 4}, ("mlp", "up"), ("embed", "mlp"))
        ('mlp', 'mlp')
        >>> key_in({("mlp", "up"): 3}, ("mlp", "up"), ("embed", "mlp"))
        ('mlp', 'up')
    """
    return path if path in bits else bit_key(path, axes)


def unpack(content: bytes) -> PyTree:
    """Returns the weights in a packed file's content, float32, by nested names.

    Raises:
        ValueError: If it is damaged; what safetensors raises, if it is none.
    """
    arrays = safetensors.numpy.load(content)
    table = json.loads(_inflate(arrays["table"].tobytes()))
    group_size, keys = table["group"], _unpack_bits(table["keys"], arrays["bits"])
    steps, codes = _from_bfloat16(arrays["steps"]), arrays["codes"]
    leaves = {}
    for name, shape, axis, key in table["weights"]:
        own = keys[key]
        length = int(np.prod(shape)) // max(len(own), 1)
        row_codes = unpack_codes(codes, own, length)
        codes = codes[packed_bytes(own, length) :]
        row_steps = np.ones((len(own), num_groups(length, group_size)), np.float32)
        needed = row_steps[own < FULL]
        row_steps[own < FULL] = steps[: needed.size].reshape(needed.shape)
        steps = steps[needed.size :]
        rows = decode(row_codes, row_steps, own, group_size)
        rows = np.where(own[:, None] >= FULL, _from_bfloat16(row_codes), rows)
        weight = from_rows(rows, axis, tuple(shape))
        leaves[tuple(name.split("."))] = np.ascontiguousarray(weight)
    return unflatten(leaves)


def make_table(
    weights: PyTree, names: PyTree, precision: Precision, group_size: int
) -> bytes:
    """Returns what is to be known of the weights beside their codes, deflated."""
    bits, axes = flatten(precision["bits"]), flatten(names)
    keys = sorted(bits)
    uniform = [
        len(bits[k]) and len(set(np.asarray(bits[k]).tolist())) == 1 for k in keys
    ]
    table = {
        "group": group_size,
        "keys": [
            [len(bits[key]), int(bits[key][0]) if same else 0]
            for key, same in zip(keys, uniform, strict=True)
        ],
        "weights": [
            [".".join(path), list(weight.shape), bit_axis(axes[path]), keys.index(key)]
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


def _unpack_bits(keys: list, stream: np.ndarray) -> list[np.ndarray]:
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


def _to_bfloat16(rows: np.ndarray) -> np.ndarray:
    """Returns the bits of numbers in bfloat16, as codes."""
    return rows.astype(jnp.bfloat16).view(np.uint16).astype(np.int32)


def _from_bfloat16(codes: np.ndarray) -> np.ndarray:
    return codes.astype(np.uint16).view(jnp.bfloat16).astype(np.float32)
