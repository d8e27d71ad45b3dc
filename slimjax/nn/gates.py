"""Gates: one number for each unit that can be closed, and later cut out.

A gate is a variable of the collection ``gates`` that names the axis it governs: the
gate ``mlp [F]`` of a module governs the axis ``mlp`` of every parameter in that module
and below. A gate without axes governs all that stands in its module and below. At 1 a
unit is open, at 0 it is closed: exactly nothing of it reaches the residual stream. The
channels of the residual stream itself have one gate at the root, ``embed [D]``, which
all that writes to the stream obeys.

Gates multiply the weights that write to the residual stream, not the activations: the
function is the same, ``(h * gate) @ w = h @ (gate[:, None] * w)``, and costs a product
of the size of a weight instead of one of the size of a batch.
"""

from collections.abc import Container, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from slimjax.nn.axes import is_shared as is_shared
from slimjax.nn.axes import is_width as is_width
from slimjax.nn.axes import kind_of as kind_of
from slimjax.trees import Path

CHANNELS = "embed"
"""The axis of the main residual stream, whose gate stands at the root of a model.

Other streams have names that end in it, and a gate of their own beside it.
"""

SUBLAYER = "sublayer"
"""The gate of a whole module, which has no axes."""


PAST = "past_state"
"""The axis of the units of a recurrent layer where their last state is read."""

NESTED = {"heads": "kv_heads", PAST: "state"}
"""Axes whose units live in units of another.

Query heads live in their KV group, and the last state of a recurrent unit in the unit.
"""


def gate(module: nn.Module, axis: str, size: int) -> Float[Array, " size"]:
    """Makes or reads the gates of an axis of `module`, all open at first."""
    init: Any = nn.with_logical_partitioning(jnp.ones, (axis,))
    gates = module.variable("gates", axis, init, (size,), jnp.float32)
    return jnp.asarray(gates.value)


def sublayer_gate(module: nn.Module) -> Float[Array, ""]:
    """Makes or reads the gate of the whole of `module`, open at first."""
    init: Any = nn.with_logical_partitioning(jnp.ones, ())
    gate = module.variable("gates", SUBLAYER, init, (), jnp.float32)
    return jnp.asarray(gate.value)


def write_gates(
    kernel: Float[Array, "*units D"],
    units: Float[Array, "*#units 1"],
    channels: Float[Array, " D"] | None,
) -> Float[Array, "*units D"]:
    """Returns a kernel that writes no more than its units and the channels let pass.

    Args:
        kernel: Weights that write to the residual stream.
        units: Gates of what the kernel reads.
        channels: Gates of what it writes to; None when all are open.
    """
    if channels is not None:
        units = units * jnp.expand_dims(channels, range(kernel.ndim - 1))
    return kernel * units


def write_bias(
    bias: Float[Array, "1 D"],
    units: Float[Array, "*units"],
    whole: Float[Array, ""],
    channels: Float[Array, " D"] | None,
) -> Float[Array, "1 D"]:
    """Returns the bias of a sublayer, as far as its gates and the channels let it pass.

    It belongs to no unit. But a sublayer without an open unit is cut as a whole, and
    its bias with it: so the bias is closed as well when the last unit is.

    Args:
        bias: What the sublayer adds to the residual stream.
        units: Gates of the sublayer's units.
        whole: Gate of the sublayer.
        channels: Gates of what it writes to; None when all are open.
    """
    is_open = whole * (jnp.max(units) > 0)
    return bias * (is_open if channels is None else is_open * channels[None])


def nest(
    own: Shaped[Array, " N"] | Shaped[np.ndarray, " N"] | None,
    parent: Shaped[Array, " K"] | Shaped[np.ndarray, " K"],
    num_units: int,
) -> Any:
    """Returns the gates of units that live in groups, which are open if both are.

    Args:
        own: Gates of the N units, or None when only their groups have gates.
        parent: Gates of the K groups; unit n lives in group ``n // (N / K)``.
        num_units: N.

    Returns:
        Shaped[Array, "N"], or a NumPy array where these are given.

    Examples:
        >>> nest(jnp.array([1.0, 1, 0, 1]), jnp.array([1.0, 0]), 4)
        Array([1., 1., 0., 0.], dtype=float32)
    """
    spread = parent.repeat(num_units // parent.shape[0])
    return spread if own is None else own * spread


def axis_gates(path: Path, axis: str, length: int, gates: Mapping[Path, Any]) -> Any:
    """Returns the gates of one axis of the weight at `path`, None where it has none.

    The gate of the nearest module that has one counts, times the gate of the group
    that its units live in, if they do.

    Args:
        path: The weight's path, its own name last.
        axis: Name of the axis.
        length: Units along it.
        gates: All gates by path: numbers, or booleans that tell what is open.
    """
    own = _nearest(path, axis, gates)
    parent = _nearest(path, NESTED[axis], gates) if axis in NESTED else None
    return own if parent is None else nest(own, parent, length)


def nearest_gate(path: Path, axis: str, gates: Container[Path]) -> Path | None:
    """Returns the path of the gate that governs an axis of the weight at `path`."""
    for depth in range(len(path) - 1, -1, -1):
        if (*path[:depth], axis) in gates:
            return (*path[:depth], axis)
    return None


def _nearest(path: Path, axis: str, gates: Mapping[Path, Any]) -> Any:
    found = nearest_gate(path, axis, gates)
    return None if found is None else gates[found]
