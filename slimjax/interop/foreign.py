"""A model in the Hugging Face form, where all formats of other software meet.

Readers make one of a folder or of a GGUF file; `slimjax.interop.families` turns it into
a model of ours, and back; writers take one. Names and layouts are those of the library
transformers: kernels are ``[out, in]``, but for GPT-2, whose are ``[in, out]``.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from slimjax.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """An array of a file, whose numbers are read only when they are asked for.

    Attributes:
        shape: Its shape, checked against the length of the file.
        dtype: Type of the numbers in the file: float32, bfloat16, float16, Q4_0 ...
        read: Returns the numbers, float32 in C order, read anew by each call. It raises
            `DataError` if one of them is not finite.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> "Tensor":
        """Returns the tensor of an array in memory.

        Examples:
            >>> Tensor.of(np.zeros((2, 3), np.float32)).shape
            (2, 3)
        """
        return cls(tuple(array.shape), str(array.dtype), lambda: array)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a foreign model came from.

    Attributes:
        path: The folder or file, as it was given.
        sha256: Digest of its weights: of one file, or over the digests of many.
        num_bytes: Length of these files.
    """

    path: str
    sha256: str
    num_bytes: int


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign:
    """A model in the Hugging Face form.

    Attributes:
        config: What ``config.json`` holds: ``model_type``, ``architectures``,
            ``hidden_size`` ... Where layers differ, ``per_layer_config`` has the
            settings of each layer by its number, such as
            ``{"0": {"num_key_value_heads": 2, "intermediate_size": 96}}``.
        tensors: By their names in ``model.safetensors``.
        files: Other files by name, byte for byte: ``tokenizer.json``,
            ``tokenizer_config.json``, ``generation_config.json`` ...
        source: Where it came from; None for what was made here.
    """

    config: dict[str, Any]
    tensors: Mapping[str, Tensor]
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    source: Source | None = None

    def json(self, name: str) -> dict[str, Any]:
        """Returns the object that one of the files holds, or {} if there is none.

        Raises:
            DataError: If it is not a JSON object.
        """
        try:
            content = json.loads(self.files.get(name, b"{}"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} is not JSON: {error}.") from None
        if not isinstance(content, dict):
            raise DataError(f"{name} does not hold a JSON object.")
        return content
