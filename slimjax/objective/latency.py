"""Latency: seconds a token, from a table that was measured once on a device.

    sum = base + sum over layers of attention(kv heads, heads a group) + mlp(units)
    latency = whole(sum)

where ``whole`` tells what models of such a sum take as a whole: small ones stay in
caches, in which their sublayers are faster than among large ones. Between the widths
that were measured each is a straight line (bilinear for attention), so that the measure
has a slope in the gates, and is exact where it was measured. What is closed takes no
time. The table is an input like any other: a run is a function of its config and of it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.errors import ConfigError
from slimjax.objective.inventory import (
    Inventory,
    Leaf,
    count,
    flat_gates,
    governors_of,
)

LATENCY = "latency"
FORMAT = "slimjax-latency-1"


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """What was measured, seconds a token.

    Attributes:
        width: Residual width of the model that it is of.
        vocab_size: Its vocabulary.
        base: Of embedding, last norm and scores, and of what no layer can help.
        head_dim: Width of a head.
        kv_heads: Numbers of KV heads, rising.
        group: Numbers of query heads for each of them, rising.
        attention: Of one attention, ``[kv_heads][group]``.
        units: Numbers of hidden units, rising.
        mlp: Of one MLP, ``[units]``.
        sums: Sums of the parts of some whole models, rising; two or more, or none.
        wholes: What those models take.
        device: What it was measured on.
    """

    width: int
    vocab_size: int
    base: float
    head_dim: int
    kv_heads: tuple[int, ...]
    group: tuple[int, ...]
    attention: tuple[tuple[float, ...], ...]
    units: tuple[int, ...]
    mlp: tuple[float, ...]
    sums: tuple[float, ...] = ()
    wholes: tuple[float, ...] = ()
    device: str = ""

    @classmethod
    def from_json(cls, data: Any, where: str) -> "LatencyTable":
        """Returns the table that was written as JSON.

        Raises:
            ConfigError: If the data, found at `where`, are no table.
        """
        try:
            fields = {f.name: data[f.name] for f in dataclasses.fields(cls)}
            fields["attention"] = tuple(map(tuple, fields["attention"]))
            for name in ("kv_heads", "group", "units", "mlp", "sums", "wholes"):
                fields[name] = tuple(fields[name])
            table = cls(**fields)
            table.check()
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where} is no table of latencies: {error}.") from error
        return table

    def check(self) -> None:
        """Raises ValueError if widths or times cannot be meant."""
        shape = len(self.kv_heads), len(self.group)
        parts = (*self.mlp, *np.ravel(self.attention), *self.sums, *self.wholes)
        times = np.array([self.base, *parts], float)
        if np.shape(self.attention) != shape or len(self.mlp) != len(self.units):
            raise ValueError("there is not one time for each width")
        for knots in (self.kv_heads, self.group, self.units):
            if not knots or min(knots) < 1 or (np.diff(knots) <= 0).any():
                raise ValueError(f"widths {list(knots)} do not rise from 1")
        if len(self.sums) != len(self.wholes) or len(self.sums) == 1:
            raise ValueError("there are not two whole models with a time for each")
        if (np.diff(self.sums) <= 0).any() or (np.diff(self.wholes) < 0).any():
            raise ValueError("times of whole models do not rise")
        if not np.isfinite(times).all() or (times < 0).any() or not self.base > 0:
            raise ValueError("times must be 0 or more, and that of the base above")

    def as_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @property
    def fingerprint(self) -> str:
        """A name for its numbers, 16 hex digits."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


UNKNOWN = LatencyTable(0, 0, 1.0, 0, (1,), (1,), ((0.0,),), (1,), (0.0,))
"""Stands for what was not measured, where nobody asks how long it takes."""


def make_latency_fn(inventory: Inventory, table: LatencyTable) -> Callable[..., Any]:
    """Returns the function from gates to seconds a token, differentiable.

    Attention is found by the weight that makes its queries, an MLP by the one that
    writes what its hidden units hold.
    """
    finders = (_find_attention, _find_mlp)
    found = (
        find(leaf, inventory, table) for leaf in inventory.leaves for find in finders
    )
    sublayers = [seconds for seconds in found if seconds is not None]

    def size_fn(gates: Any, bits: Any = None) -> Any:
        del bits  # They change nothing.
        flat, sums = flat_gates(gates), {}
        total = table.base + sum(seconds(flat, sums) for seconds in sublayers)
        return interpolate(total, table.sums, table.wholes) if table.sums else total

    return size_fn


def _find_attention(
    leaf: Leaf, inventory: Inventory, table: LatencyTable
) -> Callable[..., Any] | None:
    if leaf.axes[-2:] != ("heads", "head_dim"):
        return None
    keys = next(
        other
        for other in inventory.leaves
        if other.path[:-1] == leaf.path[:-1] and "kv_heads" in other.axes
    )
    whole, heads = _open(leaf, inventory, ()), _open(leaf, inventory, ("heads",))
    kv_heads = _open(keys, inventory, ("kv_heads",))

    def seconds(gates: Any, sums: dict) -> Any:
        num_heads, num_groups = heads(gates, sums), kv_heads(gates, sums)
        some = _at_least(num_groups, 1e-6)
        rows = [interpolate(num_heads / some, table.group, y) for y in table.attention]
        time = _at_least(interpolate(num_groups, table.kv_heads, rows), 0.0)
        return whole(gates, sums) * _present(num_heads) * time

    return seconds


def _find_mlp(
    leaf: Leaf, inventory: Inventory, table: LatencyTable
) -> Callable[..., Any] | None:
    if leaf.axes[:1] != ("mlp",):
        return None
    whole, units = _open(leaf, inventory, ()), _open(leaf, inventory, ("mlp",))

    def seconds(gates: Any, sums: dict) -> Any:
        num_units = units(gates, sums)
        time = _at_least(interpolate(num_units, table.units, table.mlp), 0.0)
        return whole(gates, sums) * _present(num_units) * time

    return seconds


def _open(
    leaf: Leaf, inventory: Inventory, axes: tuple[str, ...]
) -> Callable[..., Any]:
    """Returns (gates, sums) -> open units of an axis; of none, whether a leaf is."""
    governors = governors_of(leaf, inventory)
    if axes:
        governors = dataclasses.replace(governors, wholes=())
    return partial(_count, governors, axes)


def _count(governors: Any, axes: tuple[str, ...], gates: Any, sums: dict) -> Any:
    return count(governors, gates, sums, axes)


def interpolate(x: Any, knots: Sequence[float], values: Sequence[Any]) -> Any:
    """Returns straight lines from point to point, the outer ones going on.

    Examples:
        >>> [float(interpolate(x, (1, 2, 4), (1, 3, 4))) for x in (1, 2, 3, 4)]
        [1.0, 3.0, 3.5, 4.0]
    """
    total, last = values[0], len(knots) - 2
    for i in range(last + 1):
        length = knots[i + 1] - knots[i]
        way = x - knots[i]
        way = way if i == 0 else _at_least(way, 0.0)
        way = way if i == last else _at_most(way, length)
        total = total + (values[i + 1] - values[i]) / length * way
    return total


def _present(units: Any) -> Any:
    """Returns 1 where there is a unit or more, and less below."""
    return _at_most(units, 1.0)


def _at_least(x: Any, low: float) -> Any:
    return (jnp if isinstance(x, jax.Array) else np).maximum(x, low)


def _at_most(x: Any, high: float) -> Any:
    return (jnp if isinstance(x, jax.Array) else np).minimum(x, high)
