"""Exact weights in one file: the shape of a model, its variables, and their digest.

For teachers, imported models and points of a path. Numbers are float32, gates included,
so that what reads the file computes what was computed before. A changed byte is found.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from slimjax.errors import CheckpointError, ConfigError
from slimjax.models.config import ModelConfig
from slimjax.models.plain import as_json, from_json
from slimjax.nn.axes import to_host
from slimjax.store.files import unread
from slimjax.store.tensor_file import (
    Entry,
    Place,
    is_as_written,
    list_places,
    write_tensors,
)
from slimjax.trees import flatten, hash_tree, unflatten, update_digest

T = TypeVar("T", bound="StoredModel")

FORMAT = "slimjax-weights-sealed"
FORMATS = (FORMAT, "slimjax-weights-1", "slimjax-teacher-1")
"""Formats that are read; all hold the same. The first one has a checked header."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoredModel:
    """A model with its weights.

    Attributes:
        model: Its shape.
        variables: ``{"params": weights, "gates": gates}``.
        digest: A name for shape and weights, 64 hex digits.
    """

    model: ModelConfig
    variables: PyTree
    digest: str

    @classmethod
    def of(cls: type[T], model: ModelConfig, variables: PyTree) -> T:
        """Returns the model with these weights, and its digest.

        Weights may lie on a mesh; they are read one after the other.
        """
        shape = json.dumps(as_json(model), sort_keys=True)
        named = {"shape": np.frombuffer(shape.encode(), np.uint8), **variables}
        return cls(model, variables, hash_tree(named, to_host))

    def write(self, path: Path) -> None:
        """Writes the file so that it is there whole or not at all."""
        leaves = {".".join(n): leaf for n, leaf in flatten(self.variables).items()}
        shapes = {name: np.shape(leaf) for name, leaf in leaves.items()}
        read = lambda name: to_host(leaves[name])
        self.write_parts(path, self.model, shapes, read)

    @staticmethod
    def write_parts(
        path: Path,
        model: ModelConfig,
        shapes: Mapping[str, Sequence[int]],
        read: Callable[[str], np.ndarray],
    ) -> tuple[str, int]:
        """Writes what `write` would, one array at a time.

        Args:
            path: The file.
            model: The shape of the model.
            shapes: Shapes of all variables, by dotted names: ``params.norm.scale``.
            read: Returns the numbers of one of them, float32.

        Returns:
            The digest, and the length of the file.
        """
        shape = json.dumps(as_json(model))
        sorted_shape = json.dumps(as_json(model), sort_keys=True).encode()
        digest = hashlib.sha256()

        def read_and_hash(name: str) -> np.ndarray:
            array = np.asarray(read(name), np.float32, order="C")
            update_digest(digest, name, array)
            return array

        def seal() -> dict[str, str]:
            update_digest(digest, "shape", np.frombuffer(sorted_shape, np.uint8))
            return {"digest": digest.hexdigest()}

        float32 = np.dtype(np.float32)
        entries = {name: Entry(shapes[name], float32) for name in sorted(shapes)}
        metadata = {"format": FORMAT, "model": shape, "digest": "0" * 64}
        size = write_tensors(path, entries, read_and_hash, metadata, seal)
        return digest.hexdigest(), size

    @classmethod
    def read(cls: type[T], path: Path) -> T:
        """Returns what `write` wrote.

        Raises:
            CheckpointError: If the file is missing, damaged or of another format.
        """
        try:
            places, metadata = list_places(path)
            leaves = {tuple(name.split(".")): p.read() for name, p in places.items()}
            if metadata.get("format") not in FORMATS:
                raise CheckpointError(f"{path} is not of format {FORMAT}.")
            model = from_json(json.loads(metadata["model"]), str(path))
            is_sealed = metadata["format"] == FORMAT
            if is_sealed and not _is_canonical(path, places, metadata, model):
                raise CheckpointError(f"{path} is damaged: its header has changed.")
        except KeyError as error:
            raise CheckpointError(f"{path} is damaged: it has no {error}.") from error
        except OSError as error:
            raise unread(path, error) from error
        except (ValueError, ConfigError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.") from error
        stored = cls.of(model, {"gates": {}} | unflatten(leaves))
        if stored.digest != metadata.get("digest"):
            raise CheckpointError(f"{path} is damaged: its numbers have changed.")
        return stored


def _is_canonical(
    path: Path,
    places: Mapping[str, Place],
    metadata: Mapping[str, str],
    model: ModelConfig,
) -> bool:
    """Whether each byte of a header is what `StoredModel.write` would write."""
    is_same = metadata["model"] == json.dumps(as_json(model))
    return is_same and is_as_written(path, places, metadata)
