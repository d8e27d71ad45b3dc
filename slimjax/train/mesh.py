"""Devices and how arrays lie on them: weights everywhere, batches cut in rows."""

import dataclasses

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from slimjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Sizes of the axes of the device mesh.

    Attributes:
        data: Devices over which the rows of a batch are spread; -1 for all there are.
    """

    data: int = -1

    def __post_init__(self):
        """Refuses sizes that no mesh has."""
        if self.data < 1 and self.data != -1:
            raise ConfigError(f"config.mesh.data={self.data} must be 1 or more, or -1.")


def make_mesh(config: MeshConfig, batch_size: int) -> Mesh:
    """Returns a mesh with the axis ``data``.

    Raises:
        ConfigError: If there are fewer devices, or a batch cannot be spread evenly.
    """
    num_devices = jax.device_count()
    size = num_devices if config.data == -1 else config.data
    if size > num_devices:
        raise ConfigError(
            f"config.mesh.data={size} is more than the {num_devices} devices here."
        )
    if batch_size % size:
        raise ConfigError(
            f"config.data.batch_size={batch_size} must be a multiple of the {size} "
            "devices of the mesh axis data, or set config.mesh.data."
        )
    devices = jax.devices()[:size]
    return jax.make_mesh((size,), ("data",), (AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of weights: all of them on every device."""
    return NamedSharding(mesh, P())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of batches: the first axis spread over ``data``."""
    return NamedSharding(mesh, P("data"))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> PyTree:
    """Places a batch of the host on the devices."""
    return jax.device_put(batch, by_rows(mesh))
