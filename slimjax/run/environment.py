"""What a result may depend on beside its config: versions and the machine."""

import importlib.metadata
import platform
from typing import Any

import jax

from slimjax import native
from slimjax.version import VERSION

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "sentencepiece")


def versions() -> dict[str, str]:
    """Returns the versions of all that a result may depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "slimjax": VERSION} | found


def machine() -> dict[str, Any]:
    """Returns what the run ran on."""
    return {
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "native_kernels": native.is_enabled(),
    }
