"""Latency: seconds a token, from a table that was measured once on a device.

    latency = base(D) + sum over layers of attention(D, kv heads, heads a group)
              + mlp(D, units) + spill(weights)

with D the width of the residual stream. ``spill`` tells what is added by all weights
together: to make a token they are all read, and what does not fit near the processor
comes slowly. Between the knots of the table each is a straight line along each axis, so
that the measure has a slope in the gates, and is exact at the knots. What is closed
takes no time. The table is an input like any other: a run is a function of its config
and of it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.objective.inventory import (
    Inventory,
    Leaf,
    count,
    flat_gates,
    governors_of,
)
from slimjax.objective.latency_table import LatencyTable

LATENCY = "latency"

PARTS = ("base", "attention", "mlp")
"""What depends on the width of the residual stream."""

Seconds = Callable[[Any, dict, Mapping[str, Any]], Any]
"""(gates, sums, times at the width) -> what a sublayer takes."""


def make_latency_fn(inventory: Inventory, table: LatencyTable) -> Callable[..., Any]:
    """Returns the function from gates to seconds a token, differentiable.

    Attention is found by the weight that makes its queries, an MLP by the one that
    writes what its hidden units hold, and the width by the table of tokens.
    """
    leaves, finders = inventory.leaves, (_find_attention, _find_mlp)
    found = (find(leaf, inventory, table) for leaf in leaves for find in finders)
    sublayers = [seconds for seconds in found if seconds is not None]
    tokens = next(leaf for leaf in leaves if "vocab" in leaf.axes)
    width = _open(tokens, inventory, ("embed",))
    elements = [_open(leaf, inventory, leaf.axes, whole=True) for leaf in leaves]
    times = {name: np.array(getattr(table, name), float) for name in PARTS}

    def size_fn(gates: Any, bits: Any = None) -> Any:
        del bits  # They change nothing.
        flat, sums = flat_gates(gates), {}
        channels = width(flat, sums)
        here = {k: interpolate(channels, table.widths, t) for k, t in times.items()}
        total = _at_least(here["base"], 0.0)
        total = total + sum(seconds(flat, sums, here) for seconds in sublayers)
        if table.weights:
            weights = sum(number(flat, sums) for number in elements)
            total = total + interpolate(weights, table.weights, table.spill)
        return total

    return size_fn


def _find_attention(
    leaf: Leaf, inventory: Inventory, table: LatencyTable
) -> Seconds | None:
    if leaf.axes[-2:] != ("heads", "head_dim"):
        return None
    keys = next(
        other
        for other in inventory.leaves
        if other.path[:-1] == leaf.path[:-1] and "kv_heads" in other.axes
    )
    present = _open(leaf, inventory, (), whole=True)
    heads = _open(leaf, inventory, ("heads",))
    kv_heads = _open(keys, inventory, ("kv_heads",))

    def seconds(gates: Any, sums: dict, here: Mapping[str, Any]) -> Any:
        num_heads, num_groups = heads(gates, sums), kv_heads(gates, sums)
        a_group = num_heads / _at_least(num_groups, 1e-6)
        times = interpolate(num_groups, table.kv_heads, here["attention"])
        time = _at_least(interpolate(a_group, table.group, times), 0.0)
        return present(gates, sums) * _at_most(num_heads, 1.0) * time

    return seconds


def _find_mlp(leaf: Leaf, inventory: Inventory, table: LatencyTable) -> Seconds | None:
    if leaf.axes[:1] != ("mlp",):
        return None
    present = _open(leaf, inventory, (), whole=True)
    units = _open(leaf, inventory, ("mlp",))

    def seconds(gates: Any, sums: dict, here: Mapping[str, Any]) -> Any:
        num_units = units(gates, sums)
        time = _at_least(interpolate(num_units, table.units, here["mlp"]), 0.0)
        return present(gates, sums) * _at_most(num_units, 1.0) * time

    return seconds


def _open(
    leaf: Leaf, inventory: Inventory, axes: tuple[str, ...], *, whole: bool = False
) -> Callable[..., Any]:
    """Returns (gates, sums) -> open units along axes of a leaf.

    If `whole`, those of a leaf whose sublayer is gone are none.
    """
    governors = governors_of(leaf, inventory)
    if not whole:
        governors = dataclasses.replace(governors, wholes=())
    return lambda gates, sums: count(governors, gates, sums, axes)


def interpolate(x: Any, knots: Sequence[float], values: Any) -> Any:
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


def _at_least(x: Any, low: float) -> Any:
    return (jnp if isinstance(x, jax.Array) else np).maximum(x, low)


def _at_most(x: Any, high: float) -> Any:
    return (jnp if isinstance(x, jax.Array) else np).minimum(x, high)
