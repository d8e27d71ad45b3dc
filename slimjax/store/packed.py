"""``model.packed.safetensors``: the finished weights, at the bits they are worth.

Every weight is stored in bfloat16, under its dotted name; what `objective.size` counts
as ``bytes`` is this file.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from slimjax.errors import CheckpointError
from slimjax.store.files import write_atomic
from slimjax.trees import flatten, unflatten

FORMAT = "slimjax-packed-1"


def round_to_stored(weights: PyTree) -> PyTree:
    """Returns weights, float32, with the values that the packed file will hold."""
    rounded = lambda w: np.asarray(w).astype(jnp.bfloat16).astype(np.float32)
    return jax.tree.map(rounded, weights)


def write_packed(path: Path, weights: PyTree) -> int:
    """Writes the weights and returns the size of the file in bytes."""
    tensors = {
        ".".join(name): np.ascontiguousarray(np.asarray(w).astype(jnp.bfloat16))
        for name, w in flatten(weights).items()
    }
    content = safetensors.numpy.save(tensors, metadata={"format": FORMAT})
    write_atomic(path, content)
    return len(content)


def read_packed(path: Path) -> PyTree:
    """Returns the weights of a packed file, float32, by nested names.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise CheckpointError(f"{path} is not of format {FORMAT}.")
            names = list(file.keys())
            leaves = {
                tuple(name.split(".")): file.get_tensor(name).astype(np.float32)
                for name in names
            }
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    return unflatten(leaves)
