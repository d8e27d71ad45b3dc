"""The length of the GGUF file that a model would have, from the shapes of its layers.

It is a fast twin of `slimjax.interop.gguf_writing.predict_bytes`, for those who compare
many shapes: it writes nothing, and takes rows that are no whole number of blocks too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.gguf_header import ALIGNMENT
from slimjax.interop.gguf_items import PARTS, TABLE_NAMES, TABLES
from slimjax.interop.gguf_layout import SIZES, LayerShape, Slot, slots
from slimjax.interop.gguf_metadata import Blueprint, plan_file
from slimjax.interop.gguf_writing import predict_bytes

PLAIN = "F16"
"""A type that holds rows of any length; the header is as long for each type."""


class FileSize:
    """Tells how long the file of a model with other layers is, never too short."""

    def __init__(self, model: Foreign, kind: str, tokenizer: Mapping[str, Any]):
        """Reads no tensor.

        Args:
            model: The model.
            kind: Type of matrices.
            tokenizer: Settings of the tokenizer.

        Raises:
            ConfigError: If this kind of model is not written.
            DataError: If its config tells of something that such files do not hold.
        """
        self.config, self.kind, self.tokenizer = dict(model.config), kind, tokenizer
        names = model.tensors
        self.parts = {p for p, m in PARTS.items() if any(n.endswith(m) for n in names)}
        if not plan_file(self.config).config["tie_word_embeddings"]:
            self.parts.add("output")
        self._rests: dict[str, int] = {}

    def of(self, layers: Sequence[LayerShape]) -> float:
        """Returns the length of the file of a model with these layers, in bytes."""
        config = self._with_layers(layers)
        plan = plan_file(config)
        if plan.architecture not in self._rests:
            self._rests[plan.architecture] = self._rest(config, plan)
        own = sum(self._length(slot) for slot in self._slots(plan))
        return self._rests[plan.architecture] + own

    def _with_layers(self, layers: Sequence[LayerShape]) -> dict[str, Any]:
        own = {
            str(i): dict(zip(SIZES, (s.heads, s.kv_heads, s.mlp), strict=True))
            for i, s in enumerate(layers)
        }
        return self.config | {"per_layer_config": own}

    def _slots(self, plan: Blueprint) -> list[Slot]:
        return list(slots(plan.architecture, plan.config, self.parts))

    def _length(self, slot: Slot) -> float:
        """Returns the bytes of a tensor's numbers and of what the header says of it."""
        import gguf

        kind = self.kind if len(slot.shape) > 1 else "F32"
        kind = TABLES.get(kind, kind) if slot.gguf in TABLE_NAMES else kind
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        numbers = math.prod(slot.shape) / block * size
        return _padded(numbers) + _info(slot)

    def _rest(self, config: dict[str, Any], plan: Blueprint) -> int:
        """Returns the bytes of all else: settings, tokenizer, and what fills up."""
        model = Foreign(config, self._tensors(config), {})
        whole = predict_bytes(model, PLAIN, tokenizer=self.tokenizer)
        for slot in self._slots(plan):
            size = 2 if len(slot.shape) > 1 else 4
            whole -= int(_padded(math.prod(slot.shape) * size)) + _info(slot)
        return whole + ALIGNMENT

    def _tensors(self, config: dict[str, Any]) -> dict[str, Tensor]:
        """Returns the tensors of a model of these settings, which have no numbers."""
        whole = plan_file(config).config | {
            "per_layer_config": config["per_layer_config"]
        }
        whole["num_hidden_layers"] = config["num_hidden_layers"]
        empty = lambda: np.zeros(0, np.float32)
        return {
            slot.hf: Tensor(slot.shape, "float32", empty)
            for slot in slots("llama", whole, self.parts)
        }


def _padded(num_bytes: float) -> float:
    return math.ceil(num_bytes / ALIGNMENT) * ALIGNMENT


def _info(slot: Slot) -> int:
    """Returns the bytes of a tensor's name, shape, type and place in the header."""
    return 24 + len(slot.gguf) + 8 * len(slot.shape)
