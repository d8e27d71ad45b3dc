"""Checkpoints that the first version wrote, read as if this one had written them.

Maps to a teacher's hidden states had the names of layers then.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from slimjax import processes
from slimjax.distill.alignment import ALIGN, map_name
from slimjax.models.paths import layer_name
from slimjax.store.checkpoint import Checkpoints


def restore_state(checkpoints: Checkpoints, name: str, target: PyTree) -> Any:
    """Returns the state in a checkpoint, with the names of today.

    All processes call this.

    Args:
        checkpoints: Those of a run.
        name: Which one.
        target: Shapes, dtypes and shardings that are expected.

    Raises:
        CheckpointError: If anything is missing, damaged, or of another shape.
    """
    with processes.together(f"the leaves of {name}"):
        leaves = checkpoints.read_manifest(name)["leaves"]
    old_name = f".{ALIGN}.{layer_name(0)}."
    if not any(old_name in leaf for leaf in leaves):
        return checkpoints.restore(name, target)
    old = _rename_maps(target, layer_name)
    return _rename_maps(checkpoints.restore(name, old), map_name)


def _rename_maps(state: PyTree, name_of: Callable[[int], str]) -> PyTree:
    """Returns a state whose maps have other names, in weights and moments alike."""
    has_maps = lambda node: isinstance(node, dict) and isinstance(node.get(ALIGN), dict)

    def rename(node: Any) -> Any:
        if not has_maps(node):
            return node
        numbers = (int(key.rpartition("_")[2]) for key in node[ALIGN])
        maps = zip(numbers, node[ALIGN].values(), strict=True)
        return {**node, ALIGN: {name_of(number): own for number, own in maps}}

    return jax.tree.map(rename, state, is_leaf=has_maps)
