"""What lies in the memory of each device: by our own count, and by the compiler's."""

import dataclasses
import math
import re
from typing import Any

import jax
from jaxtyping import PyTree

from slimjax.train.stage import Stage

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a program on one device.

    Attributes:
        arguments: State and batch, as they come in.
        temporaries: What lives during a step alone.
        outputs: What a step returns and does not write in the place of its arguments.
        code: The program.
        capacity: What a program may use.
    """

    arguments: int
    temporaries: int
    outputs: int
    code: int
    capacity: float

    @property
    def total(self) -> int:
        """All bytes that the program needs."""
        return self.arguments + self.temporaries + self.outputs + self.code

    @property
    def fits(self) -> bool:
        """Whether that is not more than there are."""
        return self.total <= self.capacity


def read_memory(compiled: Any, capacity: float) -> Memory:
    """Returns what the compiler reports of a program's memory."""
    stats = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        outputs=stats.output_size_in_bytes - stats.alias_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
        capacity=capacity,
    )


def read_shortage(message: str) -> float | None:
    """Returns the bytes that a program wanted, from a compiler's refusal; or None.

    Examples:
        >>> text = "RESOURCE_EXHAUSTED: the total memory required (2.00G) exceeds"
        >>> read_shortage(text), read_shortage("INTERNAL: something else")
        (2147483648.0, None)
    """
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = re.search(r"(?:Used |\()(\d+(?:\.\d+)?)([KMGT])\b", message)
    if not found:
        return math.inf
    return float(found[1]) * 1024 ** (1 + "KMGT".index(found[2]))


def count_state(stage: Stage) -> dict[str, dict[str, int]]:
    """Returns bytes of the state by kind: in all, and on each device.

    Kinds are ``weights``, ``gates``, ``moments`` (all that the optimizer keeps) and
    ``others`` (averages, bits, step number).
    """
    state: Any = stage.abstract_state
    parts = {
        "weights": state.params["params"],
        "gates": state.params["gates"],
        "moments": state.opt_state,
    }
    counts = {kind: count_bytes(tree) for kind, tree in parts.items()}
    everything = count_bytes(state)
    counts["others"] = {
        where: everything[where] - sum(count[where] for count in counts.values())
        for where in everything
    }
    return counts


def count_saving(stage: Stage) -> int:
    """Returns the bytes of each device while a checkpoint is written.

    Several devices then have stacked layers a second time, each by itself.
    """
    own = count_bytes(stage.abstract_state)["device"]
    is_twice = bool(stage.layout.runs) and stage.mesh.size > 1
    return own + is_twice * count_bytes(stage.abstract_checkpoint)["device"]


def count_bytes(tree: PyTree) -> dict[str, int]:
    """Returns the bytes of arrays that are only described: in all, and on a device."""
    counts = {"total": 0, "device": 0}
    for leaf in jax.tree.leaves(tree):
        own = leaf.sharding.shard_shape(leaf.shape)
        counts["total"] += math.prod(leaf.shape) * leaf.dtype.itemsize
        counts["device"] += math.prod(own) * leaf.dtype.itemsize
    return counts
