"""The device mesh: its axes, its sizes, and what it can divide."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh
from jaxtyping import PyTree

from slimjax.data.dataset import Field
from slimjax.errors import ConfigError
from slimjax.nn.axes import RULES, num_parts
from slimjax.trees import flatten

AXES = ("data", "fsdp", "model", "context")
"""Axes of every mesh, the slowest links first."""

SETTINGS = {
    "embed": "config.model.width",
    "heads": "config.model.num_heads",
    "kv_heads": "config.model.num_kv_heads",
    "mlp": "config.model.mlp_dim",
    "batch": "config.data.batch_size",
    "positions": "config.data.seq_len",
}
"""Who sets the length of an axis. A vocabulary is what it is: it may lie whole."""

MULTIPLES = {
    "mlp": "multiple",
    "kv_heads": "kv_heads_multiple",
    "embed": "width_multiple",
}
"""The setting of ``config.resize`` of which an axis stays a multiple when it is cut."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the axes of the device mesh; one of them may be -1, for the rest.

    What a run computes does not depend on them, so they may change when it resumes.

    Attributes:
        data: Parts of a batch, each on devices with all the weights.
        fsdp: Parts of a batch, each on devices with as large a part of the weights,
            gates and moments: fully sharded data parallelism.
        model: Parts of heads, hidden units and vocabulary: tensor parallelism.
        context: Parts of a row's positions: sequence parallelism.

    References:
        Rajbhandari et al., "ZeRO", 2020, section 5 (fsdp is its third stage).
        Shoeybi et al., "Megatron-LM", 2019, section 3 (model).
    """

    data: int = -1
    fsdp: int = 1
    model: int = 1
    context: int = 1

    def __post_init__(self):
        """Refuses sizes that no mesh has."""
        sizes = dataclasses.asdict(self)
        for axis, size in sizes.items():
            if size < 1 and size != -1:
                raise ConfigError(
                    f"config.mesh.{axis}={size} must be 1 or more, or -1 for the rest."
                )
        rest = [axis for axis, size in sizes.items() if size == -1]
        if len(rest) > 1:
            raise ConfigError(
                f"config.mesh.{rest[0]}=-1 and config.mesh.{rest[1]}=-1 cannot both be "
                f"the rest. Set config.mesh.{rest[0]}=1."
            )

    def sizes(self, num_devices: int) -> dict[str, int]:
        """Returns the size of every axis on so many devices.

        Raises:
            ConfigError: If there are fewer devices, or they cannot be shared out.

        Examples:
            >>> MeshConfig(model=2).sizes(8)
            {'data': 4, 'fsdp': 1, 'model': 2, 'context': 1}
        """
        sizes = dataclasses.asdict(self)
        asked = math.prod(size for size in sizes.values() if size != -1)
        told = ", ".join(f"{a}={n}" for a, n in sizes.items() if n not in (1, -1))
        if asked > num_devices:
            raise ConfigError(
                f"config.mesh ({told}) wants {asked} devices, more than the "
                f"{num_devices} devices here. Make an axis smaller."
            )
        rest = next((axis for axis, size in sizes.items() if size == -1), None)
        if rest is not None and num_devices % asked:
            raise ConfigError(
                f"config.mesh.{rest}=-1: {num_devices} devices cannot be shared out in "
                f"parts of {asked} ({told}). Choose sizes that divide {num_devices}."
            )
        return sizes if rest is None else sizes | {rest: num_devices // asked}


def mesh_here(config: MeshConfig) -> MeshConfig:
    """Returns a mesh for a finished model: its own, or one device for want of more."""
    try:
        config.sizes(jax.device_count())
    except ConfigError:
        return MeshConfig(data=1)
    return config


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the mesh with all of `AXES`, on the first devices if it is small.

    Args:
        config: Sizes of the axes.
        devices: The devices, which may be described only; by default all there are.

    Raises:
        ConfigError: If there are too few, or some that a run of several processes
            would leave idle: its votes and its steps take the same devices.
    """
    are_here = devices is None
    devices = jax.devices() if devices is None else list(devices)
    sizes = config.sizes(len(devices))
    size = math.prod(sizes.values())
    if are_here and size < len(devices) and jax.process_count() > 1:
        raise ConfigError(
            f"config.mesh wants {size} of the {len(devices)} devices of these "
            f"{jax.process_count()} processes, which must take all. Set one axis to -1."
        )
    auto = (AxisType.Auto,) * len(AXES)
    # An axis may be a part of one of a torus, such as 4 of the 8 of 8x8x8 chips.
    grid = mesh_utils.create_device_mesh(
        tuple(sizes.values()), devices[:size], allow_split_physical_axes=True
    )
    return Mesh(grid, AXES, axis_types=auto)


def check_batch(
    fields: Mapping[str, Field],
    batch_size: int,
    accumulation_steps: int,
    sizes: Mapping[str, int],
) -> None:
    """Refuses batches that a mesh cannot cut into even parts.

    Raises:
        ConfigError: Naming the batch, the mesh and the remedy.
    """
    rows = num_parts("batch", sizes)
    if batch_size % (rows * accumulation_steps):
        times = f" x config.optim.accumulation_steps={accumulation_steps}"
        raise ConfigError(
            f"config.data.batch_size={batch_size} must be a multiple of "
            f"{_describe('batch', sizes)}{times if accumulation_steps > 1 else ''}, "
            "the devices that share its rows. Make it one, or set config.mesh."
        )
    names = {name: ("batch", *field.axes) for name, field in fields.items()}
    shapes = {
        name: jax.ShapeDtypeStruct((batch_size, *field.shape), np.dtype(field.dtype))
        for name, field in fields.items()
    }
    check_divides(names, shapes, sizes, "batch")


def check_divides(
    names: PyTree, shapes: PyTree, sizes: Mapping[str, int], where: str = "model"
) -> None:
    """Refuses arrays whose axes a mesh cannot cut into even parts.

    Args:
        names: Names of the axes of each array, by nested names.
        shapes: The arrays, or their shapes.
        sizes: Sizes of the axes of the mesh, by name.
        where: What the arrays belong to.

    Raises:
        ConfigError: Naming the axis and its length, the mesh and the remedy.
    """
    leaves = flatten(shapes)
    for path, axes in flatten(names).items():
        for axis, length in zip(axes, leaves[path].shape, strict=True):
            parts = num_parts(axis, sizes)
            if axis not in SETTINGS or not length % parts:
                continue
            mesh = _describe(axis, sizes)
            raise ConfigError(
                f"{mesh} cannot divide axis {axis} of length {length} in {where} "
                f"{'.'.join(path)}. Make {SETTINGS[axis]} a multiple of {parts}, or "
                f"{mesh.split('=')[0]} a divisor of {length}."
            )


def check_cuts(multiples: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    """Refuses a mesh that could not divide what a seam leaves.

    What is removed must not depend on the mesh, as a run may go on on another one. So
    it is the config that keeps lengths divisible.

    Args:
        multiples: Of each axis that may be cut, the number of which it stays a
            multiple.
        sizes: Sizes of the axes of the mesh.

    Raises:
        ConfigError: Naming the axis of the mesh and the multiple.
    """
    for axis, setting in MULTIPLES.items():
        parts, multiple = num_parts(axis, sizes), multiples.get(axis, 0)
        if multiple % parts:
            raise ConfigError(
                f"config.resize.{setting}={multiple} must be a multiple of "
                f"{_describe(axis, sizes)}, so that axis {axis} can be divided after a "
                f"cut. Set it to {math.lcm(multiple, parts)}, or leave {axis!r} out of "
                "config.resize.units."
            )


def _describe(axis: str, sizes: Mapping[str, int]) -> str:
    """Returns the setting of the mesh that cuts an axis, and its value."""
    cut_by = [name for name in RULES[axis] if sizes.get(name, 1) > 1]
    product = math.prod(sizes[name] for name in cut_by)
    return f"{' x '.join(f'config.mesh.{name}' for name in cut_by)}={product}"
