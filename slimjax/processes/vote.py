"""A signal to one process stops all of them, at the same step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int32

from slimjax.processes import world


class Vote:
    """The largest wish of all processes, found on the devices between two steps.

    It is sent off like a step and read with that step's metrics, so nobody waits for
    it; and since all read the same votes in the same order, all act at the same step.
    """

    def __init__(self):
        """Builds the function; compiles nothing yet."""
        self.is_needed = world.count() > 1
        if not self.is_needed:
            return
        firsts: dict[int, Any] = {}
        for device in jax.devices():
            firsts.setdefault(device.process_index, device)
        voters = np.array([firsts[i] for i in sorted(firsts)])
        mesh = Mesh(voters, ("process",), axis_types=(AxisType.Auto,))
        self._place = NamedSharding(mesh, P("process"))
        self._max = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, P()))

    def cast(self, wish: int) -> Int32[Array, ""] | int:
        """Returns the largest wish, still to be computed; 0 is none."""
        if not self.is_needed:
            return wish
        own = np.array([wish], np.int32)
        return self._max(jax.make_array_from_process_local_data(self._place, own))
