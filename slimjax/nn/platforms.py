"""Which platform a program is for, which need not be the host's own."""

import jax


def target_platform() -> str:
    """Returns ``cpu``, ``gpu`` or ``tpu``: of the mesh in context, else of this host.

    Inside ``jax.set_mesh(mesh)`` a program is for the devices of that mesh, and these
    may be described only, so that a CPU can compile for a TPU that is not there.

    Examples:
        >>> target_platform()
        'cpu'
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    platform = jax.default_backend() if device is None else device.platform
    return "gpu" if platform == "cuda" else platform
