"""The leaves of a state: copied for a checkpoint, and compared with its manifest."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.errors import CheckpointError
from slimjax.trees import leaf_table, named_leaves


def host_copy(leaf: jax.Array) -> Any:
    """Returns a copy that the next step cannot overwrite; of what is here alone."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        leaf = leaf.addressable_data(0)
    return np.array(leaf, copy=True)


def compare_shapes(folder: Path, leaves: dict[str, Any], target: PyTree) -> None:
    """Raises `CheckpointError` at the first leaf of another shape or dtype."""
    shapes = {
        leaf: [list(value.shape), str(value.dtype)]
        for leaf, value in named_leaves(target).items()
    }
    stored = {k: [v["shape"], v["dtype"]] for k, v in leaves.items()}
    if shapes != stored:
        odd = sorted(k for k in {*shapes, *stored} if shapes.get(k) != stored.get(k))
        raise CheckpointError(f"{folder} holds another model: {odd[0]} differs.")


def compare_leaves(folder: Path, leaves: dict[str, Any], state: PyTree) -> None:
    """Raises `CheckpointError` at the first leaf whose bytes are not those saved."""
    for leaf, entry in leaf_table(jax.tree.map(host_copy, state)).items():
        stored, found = leaves.get(leaf, {}).get("crc32"), entry["crc32"]
        if found is not None and stored is not None and found != stored:
            raise CheckpointError(f"{folder} is damaged: {leaf} has other bytes.")
