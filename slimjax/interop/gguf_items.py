"""The tensors of a GGUF file that is written: where they come from, and their types."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

from slimjax.errors import DataError
from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.gguf_blocks import Blocks
from slimjax.interop.gguf_config import ROPE_TENSOR
from slimjax.interop.gguf_layout import Slot, slots
from slimjax.interop.gguf_metadata import Blueprint
from slimjax.interop.gguf_rope import llama3_divisors

TABLES = {"Q4_0": "Q8_0", "Q4_1": "Q8_0"}
"""Types of the tables of tokens, where they differ: as llama.cpp has them."""

TABLE_NAMES = ("token_embd.weight", "output.weight")
"""Names of the tables of tokens."""

PARTS = {
    "qkv_bias": ".self_attn.q_proj.bias",
    "output_bias": ".self_attn.o_proj.bias",
    "mlp_bias": ".mlp.up_proj.bias",
}
"""What a model may have, by the end of the name of a tensor that tells of it."""

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@dataclasses.dataclass(frozen=True)
class Item:
    """A tensor of the file, and how its numbers are made.

    Attributes:
        slot: Its names and shapes.
        type: Its type.
        source: The model's tensor; None for one that is filled up with zeros, or with
            ones in norms.
        blocks: The same, rounded already.
    """

    slot: Slot
    type: str
    source: Tensor | None
    blocks: Blocks | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of its numbers in the file."""
        import gguf

        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[self.type]]
        return math.prod(self.slot.shape) // block * size

    def read(self) -> np.ndarray:
        """Returns the numbers as the file has them, float32."""
        if self.source is None:
            fill = np.ones if "norm" in self.slot.hf else np.zeros
            return fill(self.slot.gguf_shape, np.float32)
        array = np.asarray(self.source.read(), np.float32)
        return np.ascontiguousarray(self.slot.to_gguf(array))


def list_items(
    model: Foreign, plan: Blueprint, kind: str, blocks: Mapping[str, Blocks]
) -> Iterator[Item]:
    """Yields the tensors of a file.

    Args:
        model: The model.
        plan: What the file holds.
        kind: Type of its matrices.
        blocks: Matrices that are rounded already, by their names in the model.

    Raises:
        DataError: If a tensor is missing, left over, of another shape than the config
            says, or has rows that its type cannot hold.
    """
    tensors = dict(model.tensors)
    is_tied = plan.config["tie_word_embeddings"]
    if is_tied:
        tensors.pop("lm_head.weight", None)
    parts = {p for p, m in PARTS.items() if any(n.endswith(m) for n in tensors)}
    parts |= set() if is_tied else {"output"}
    used = set()
    for slot in slots(plan.architecture, plan.config, parts):
        name, is_filler = _source(slot.hf, plan)
        used.add(name)
        source = _find(tensors, slot, name, is_filler)
        own = blocks.get(name) if source is not None else None
        type_ = own.kind if own is not None else kind
        yield Item(slot, _type_of(slot, type_, own is not None), source, own)
    gone = {f"model.layers.{i}." for i in range(len(plan.shapes))}
    gone -= {f"model.layers.{i}." for i in plan.sources}
    extra = [n for n in tensors if n not in used and not n.startswith(tuple(gone))]
    if extra:
        raise DataError(f"the tensor {min(extra)!r:.80} has no place in a GGUF file.")
    rope = plan.config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        divisors = llama3_divisors(rope, plan.config["head_dim"])
        slot = Slot(ROPE_TENSOR, ROPE_TENSOR, divisors.shape)
        yield Item(slot, "F32", Tensor.of(divisors))


def _source(name: str, plan: Blueprint) -> tuple[str, bool]:
    """Returns a tensor's name in the model, and whether the model lacks it."""
    match = _LAYER.fullmatch(name)
    if not match:
        return name, False
    number = plan.sources[int(match[1])]
    is_attention = match[2].startswith(("self_attn.", "input_layernorm."))
    shape = plan.shapes[number] if plan.shapes else None
    is_there = shape and (shape.heads if is_attention else shape.mlp)
    return f"model.layers.{number}.{match[2]}", not is_there


def _find(
    tensors: dict[str, Tensor], slot: Slot, name: str, is_filler: bool
) -> Tensor | None:
    if is_filler:
        return None
    if name not in tensors:
        raise DataError(f"the tensor {name} is missing.")
    if tuple(tensors[name].shape) != slot.shape:
        raise DataError(
            f"the tensor {name} has the shape {list(tensors[name].shape)}, but its "
            f"config wants {list(slot.shape)}."
        )
    return tensors[name]


def _type_of(slot: Slot, kind: str, is_given: bool = False) -> str:
    """Returns the type of a tensor.

    Args:
        slot: The tensor.
        kind: Type of matrices.
        is_given: Whether the tensor is of this type already.

    Raises:
        DataError: If its rows are no whole number of blocks.
    """
    import gguf

    if len(slot.shape) < 2:
        return "F32"
    if slot.gguf in TABLE_NAMES and not is_given:
        kind = TABLES.get(kind, kind)
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    if slot.gguf_shape[-1] % block:
        raise DataError(
            f"{slot.hf} has rows of {slot.gguf_shape[-1]} numbers, and {kind} holds "
            f"blocks of {block}. Choose --type=F16, or a model whose MLP widths are "
            f"multiples of {block} (resize.multiple={block})."
        )
    return kind


def encode(item: Item) -> np.ndarray:
    """Returns a tensor as the file has it: numbers, or the bytes of each row.

    Raises:
        DataError: If it has a number that is not finite, or that F16 cannot hold.
    """
    import gguf

    if item.blocks is not None:
        return np.ascontiguousarray(item.slot.to_gguf(item.blocks.pack()))
    array = item.read()
    largest = np.maximum(array.max(initial=0), -array.min(initial=0))
    if not np.isfinite(largest):  # NaN is the largest of all that there are.
        raise DataError(f"{item.slot.hf} has a number that is not finite.")
    if item.type == "F16" and largest > np.finfo(np.float16).max:
        raise DataError(f"{item.slot.hf} has a number that F16 cannot hold.")
    with np.errstate(all="ignore"):  # Blocks of zeros; the comparison finds the rest.
        return gguf.quants.quantize(array, gguf.GGMLQuantizationType[item.type])
