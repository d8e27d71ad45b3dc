"""A teacher: a shape and its frozen weights, and the file that keeps them.

A teacher's numbers are exact float32, gates included: a run that goes on after a kill
reads what it would have read.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from slimjax.errors import CheckpointError, ConfigError
from slimjax.models.config import ModelConfig
from slimjax.models.plain import as_json, from_json
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.store.files import write_atomic
from slimjax.trees import flatten, hash_tree, unflatten

FORMAT = "slimjax-teacher-1"


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen model.

    Attributes:
        model: Its shape.
        variables: ``{"params": weights, "gates": gates}``.
        digest: A name for shape and weights, 64 hex digits.
    """

    model: ModelConfig
    variables: PyTree
    digest: str

    @classmethod
    def of(cls, model: ModelConfig, variables: PyTree) -> "Teacher":
        """Returns the teacher that these weights are, with its digest."""
        shape = json.dumps(as_json(model), sort_keys=True)
        named = {"shape": np.frombuffer(shape.encode(), np.uint8), **variables}
        return cls(model, variables, hash_tree(named))

    def flops_per_token(self, seq_len: int) -> float:
        """Returns the FLOPs of its forward pass."""
        return flops_per_token(self.model, seq_len)


def flops_per_token(model: ModelConfig, seq_len: int) -> float:
    """Returns the FLOPs of a model's forward pass, all its gates open."""
    inventory = take_inventory(model.abstract_variables(), model.uses({"": seq_len}))
    return float(make_size_fn("flops", inventory)(inventory.open_gates()))


def write_teacher(path: Path, teacher: Teacher) -> None:
    """Writes a teacher so that it is there whole or not at all."""
    tensors = {
        ".".join(name): np.asarray(leaf, np.float32, order="C")
        for name, leaf in flatten(teacher.variables).items()
    }
    shape = json.dumps(as_json(teacher.model))
    metadata = {"format": FORMAT, "model": shape, "digest": teacher.digest}
    write_atomic(path, safetensors.numpy.save(tensors, metadata=metadata))


def read_teacher(path: Path) -> Teacher:
    """Returns the teacher that a file keeps.

    Raises:
        CheckpointError: If the file is missing, damaged or of another format.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            leaves = {tuple(name.split(".")): file.get_tensor(name) for name in names}
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not of format {FORMAT}.")
        model = from_json(json.loads(metadata["model"]), str(path))
    except (OSError, ValueError, ConfigError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    variables = {"gates": {}} | unflatten(leaves)
    teacher = Teacher.of(model, variables)
    if teacher.digest != metadata.get("digest"):
        raise CheckpointError(f"{path} is damaged: its numbers have changed.")
    return teacher
