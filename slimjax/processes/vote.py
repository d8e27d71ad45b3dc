"""A signal to one process stops all of them, at the same step."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int32

from slimjax.processes import world


class Vote:
    """The largest wish of all processes, found on the devices between two steps.

    It is sent off like a step and read with that step's metrics, so no process waits
    for it. All read the same votes in the same order, so all act at the same step.
    All devices vote, as all take the step: on a CPU, XLA runs only such programs one
    after the other, and others might meet the step's messages on the way.
    """

    def __init__(self):
        """Builds the function; compiles nothing yet."""
        self.is_needed = world.count() > 1
        if not self.is_needed:
            return
        voters = np.array(jax.devices())
        mesh = Mesh(voters, ("device",), axis_types=(AxisType.Auto,))
        self._place = NamedSharding(mesh, P("device"))
        self._max = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, P()))

    def cast(self, wish: int) -> Int32[Array, ""] | int:
        """Returns the largest wish, still to be computed; 0 is none."""
        if not self.is_needed:
            return wish
        own = np.full(jax.local_device_count(), wish, np.int32)
        return self._max(jax.make_array_from_process_local_data(self._place, own))
