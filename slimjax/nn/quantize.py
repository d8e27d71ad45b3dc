"""Numbers of few bits: the quantizer, and weights that pass through it in training.

A *row* is what one unit (a head, a hidden unit, a token) holds of a weight. A row of b
bits is rounded to 2^b evenly spaced levels around zero, half of them on each side:

    code = clip(floor(w / s) + 2^(b-1), 0, 2^b - 1)
    Q(w) = s * (code - 2^(b-1) + 1/2),        s = fit * STEPS[b] * rms(w)

where ``STEPS[b]`` is the best step for normal numbers of deviation 1, and ``fit``, 1 at
first, is set by `fit_rows`. Steps are stored in bfloat16. 16 bits are bfloat16 itself;
in training such rows are left alone.

All functions work on NumPy arrays (at a seam, for files) and on JAX arrays (in a step).

References:
    Max, "Quantizing for Minimum Distortion", 1960, table II (the steps).
    Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons",
    2013 (the straight-through gradient).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from slimjax.nn.axes import is_spread, numpy_of, to_host
from slimjax.nn.bit_axes import bit_axis as bit_axis
from slimjax.nn.bit_axes import bit_key as bit_key
from slimjax.nn.bit_axes import is_matrix as is_matrix
from slimjax.trees import AxisNames, Path, flatten, unflatten

PRECISION = "precision"
"""Collection of variables that holds the bits of weights, and their fits."""

STATES = (2, 3, 4, 6, 8, 16)
"""Bits that a unit may have."""

FULL = 16
"""Bits of bfloat16, in which a weight is not rounded to levels."""

LEAST_OF_VECTORS = 8
"""Least bits of weights that are not matrices: biases and scales of norms."""

STEPS = {2: 0.9957, 3: 0.5860, 4: 0.3352, 6: 0.1041, 8: 0.0308, FULL: 1.0}
"""Distance of levels that is best for normal numbers of deviation 1, by bits."""

FITS = np.linspace(0.5, 1.5, 21, dtype=np.float32)
"""Factors of the best step for normal numbers, among which `fit_rows` chooses."""

Rows = Float[Array, "U E"] | Float[np.ndarray, "U E"]
Steps = Float[Array, "U G"] | Float[np.ndarray, "U G"]
Codes = Int[Array, "U E"] | Int[np.ndarray, "U E"]
Units = Shaped[Array, " U"] | Shaped[np.ndarray, " U"]

Precision = Mapping[str, PyTree]
"""``bits``: int32 [U] by bit key; ``fit``: float32 [U] by path of the weight."""


def least_bits(axes: AxisNames) -> int:
    """Returns the fewest bits that a weight may have."""
    return min(STATES) if is_matrix(axes) else LEAST_OF_VECTORS


def uniform_precision(shapes: PyTree, names: PyTree, bits: int) -> Precision:
    """Returns the state in which every unit has the same bits, or its least.

    Args:
        shapes: Weights, or their shapes.
        names: Names of their axes.
        bits: Bits of every unit.
    """
    axes, all_bits, fits = flatten(names), {}, {}
    for path, weight in flatten(shapes).items():
        axis = bit_axis(axes[path])
        num_units = 1 if axis is None else weight.shape[axis]
        own = max(bits, least_bits(axes[path]))
        all_bits[bit_key(path, axes[path])] = np.full(num_units, own, np.int32)
        fits[path] = np.ones(num_units, np.float32)
    return {"bits": unflatten(all_bits), "fit": unflatten(fits)}


def precision_names(names: PyTree) -> Precision:
    """Returns the axis names of a precision, for weights with the given ones."""
    bits, fits = {}, {}
    for path, axes in flatten(names).items():
        axis = bit_axis(axes)
        own = ("unit",) if axis is None else (axes[axis],)
        bits[bit_key(path, axes)], fits[path] = own, own
    return {"bits": unflatten(bits), "fit": unflatten(fits)}


def quantize(
    weights: PyTree, names: PyTree, precision: Precision, group_size: int = 0
) -> PyTree:
    """Returns weights rounded to their levels, with gradients as if they were not."""
    axes, bits = flatten(names), flatten(precision["bits"])
    fits = flatten(precision["fit"])

    def straight_through(path: Path, weight: Any) -> Array:
        axis, own = bit_axis(axes[path]), bits[bit_key(path, axes[path])]
        rows = to_rows(weight, axis)
        codes, steps = encode(rows, own, fits[path], group_size)
        levels = decode(codes, steps, own, group_size)
        rounded = jnp.where(own[:, None] < FULL, levels, rows)
        rounded = from_rows(rounded, axis, weight.shape)
        return jax.lax.stop_gradient(rounded) + (weight - jax.lax.stop_gradient(weight))

    return unflatten({p: straight_through(p, w) for p, w in flatten(weights).items()})


def to_rows(weight: Any, axis: int | None) -> Any:
    """Returns ``[U E]``: for each unit along `axis`, what it holds of a weight."""
    if axis is None:
        return weight.reshape(1, -1)
    return numpy_of(weight).moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def from_rows(rows: Any, axis: int | None, shape: tuple[int, ...]) -> Any:
    """Returns the weight of a shape that `to_rows` took apart."""
    if axis is None:
        return rows.reshape(shape)
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return numpy_of(rows).moveaxis(rows.reshape(moved), 0, axis)


def encode(rows: Rows, bits: Units, fit: Units, group_size: int = 0) -> tuple[Any, Any]:
    """Returns the codes of rows [U E], and the steps [U G] between their levels.

    Args:
        rows: What each unit holds.
        bits: Bits of each unit; what comes out for `FULL` ones has no meaning.
        fit: Factor of each unit's steps.
        group_size: Elements that share a step; 0 for the whole row.
    """
    table = np.ones(FULL + 1, np.float32)
    table[list(STEPS)] = list(STEPS.values())
    steps = row_steps(rows, numpy_of(rows).asarray(table)[bits] * fit, group_size)
    return codes_at(rows, steps, bits, group_size), steps


def codes_at(rows: Rows, steps: Steps, bits: Units, group_size: int = 0) -> Any:
    """Returns the codes of rows [U E] between whose levels there are given steps."""
    xp, half = numpy_of(rows), _half(bits)
    levels = xp.floor(rows / spread(steps, rows.shape[1], group_size)) + half
    return xp.clip(levels, 0, 2 * half - 1).astype(np.int32)


def decode(codes: Codes, steps: Steps, bits: Units, group_size: int = 0) -> Any:
    """Returns the numbers [U E] that codes stand for, float32."""
    offset = codes.astype(np.float32) - _half(bits) + np.float32(0.5)
    return offset * spread(steps, codes.shape[1], group_size)


def num_groups(length: int, group_size: int) -> int:
    """Returns how many groups a row of `length` elements has."""
    return -(-length // group_size) if group_size else 1


def fit_rows(
    rows: Rows,
    curvature: Rows,
    bits: Units,
    group_size: int = 0,
    factors: Any = FITS,
) -> tuple[Any, Any]:
    """Returns the fit [U] of each row with the least ``sum h (w - Q(w))^2``, and that.

    Args:
        rows: What each unit holds, w.
        curvature: Second derivative of the loss in each of them, h; where all is zero,
            the plain error counts.
        bits: Bits of each unit; those of `FULL` ones have no error.
        group_size: Elements that share a step.
        factors: What is chosen among, one for all rows or one for each, ``[K]`` or
            ``[K U]``.
    """
    xp = numpy_of(rows)
    exact = np.float64 if xp is np else np.float32

    def compare(best: tuple[Any, Any], factor: Any) -> tuple[tuple[Any, Any], None]:
        fit = xp.broadcast_to(xp.asarray(factor, np.float32), (len(rows),))
        codes, steps = encode(rows, bits, fit, group_size)
        errors = (rows - decode(codes, steps, bits, group_size)) ** 2
        sums = ((curvature + np.float32(1e-20)) * errors).sum(1, dtype=exact)
        best_fit, least = best
        return (xp.where(sums < least, fit, best_fit), xp.minimum(sums, least)), None

    best = xp.ones(len(rows), np.float32), xp.full(len(rows), np.inf, exact)
    if xp is np:
        for factor in factors:
            best, _ = compare(best, factor)
    else:
        best, _ = jax.lax.scan(compare, best, jnp.asarray(factors))
    is_full = bits >= FULL
    return xp.where(is_full, np.float32(1), best[0]), xp.where(is_full, 0, best[1])


def fit_weight(
    weight: Any, curvature: Any, axis: int | None, bits: Units, group_size: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `fit_rows` does for the units along an axis, on the host.

    Args:
        weight: On the host, or on the devices of a mesh, where it is worked on.
        curvature: Likewise.
        axis: See `to_rows`.
        bits: See `fit_rows`.
        group_size: See there.
    """
    if is_spread(weight):
        return to_host(_fit_on_devices(weight, curvature, axis, bits, group_size))
    rows, slopes = (to_rows(np.asarray(x), axis) for x in (weight, curvature))
    return fit_rows(rows, slopes, bits, group_size)


@partial(jax.jit, static_argnums=(2, 4))
def _fit_on_devices(weight, curvature, axis, bits, group_size):
    rows, slopes = (to_rows(x, axis) for x in (weight, curvature))
    return fit_rows(rows, slopes, bits, group_size)


def _half(bits: Any) -> Any:
    """Returns half the number of levels, [U 1], float32; 0 bits have none."""
    return (numpy_of(bits).left_shift(1, bits) / 2).astype(np.float32)[:, None]


def row_steps(rows: Any, factors: Any, group_size: int) -> Any:
    """Returns the steps ``[U G]``, float32, of values that bfloat16 has.

    Args:
        rows: What each unit holds, ``[U E]``.
        factors: Steps as parts of the root mean square of each row, ``[U]``.
        group_size: Elements that share a step.
    """
    xp = numpy_of(rows)
    num_units, length = rows.shape
    groups, size = num_groups(length, group_size), group_size or length
    squares = xp.pad(rows * rows, ((0, 0), (0, groups * size - length)))
    counts = np.minimum(size, length - size * np.arange(groups)).astype(np.float32)[
        None
    ]
    rms = xp.sqrt(squares.reshape(num_units, groups, size).sum(2) / counts)
    steps = rms * factors[:, None] + np.float32(1e-12)
    return steps.astype(jnp.bfloat16).astype(np.float32)


def spread(steps: Any, length: int, group_size: int) -> Any:
    """Returns ``[U E]`` (or ``[U 1]``): the step of each element of a row."""
    if steps.shape[1] == 1:
        return steps
    return numpy_of(steps).repeat(steps, group_size, axis=1)[:, :length]
