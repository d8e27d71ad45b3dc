"""Writes a model in the Hugging Face form as one GGUF file, a tensor at a time.

The file is written beside its place, read again and compared, and only then moved
there; whatever goes wrong leaves no file behind.
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, DataError
from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.gguf_config import ROPE_TENSOR
from slimjax.interop.gguf_header import check_library, read_header
from slimjax.interop.gguf_layout import Slot, slots
from slimjax.interop.gguf_metadata import Blueprint, model_settings, plan_file
from slimjax.interop.gguf_numbers import read_numbers
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_rope import llama3_divisors
from slimjax.interop.gguf_tokenizer_writing import tokenizer_settings
from slimjax.text.files import show

TYPES = ("F32", "F16", "Q8_0", "Q4_0", "Q4_1")
"""Types of matrices that are written; vectors are always float32."""

TABLES = {"Q4_0": "Q8_0", "Q4_1": "Q8_0"}
"""Types of the tables of tokens, where they differ: as llama.cpp has them."""

_PARTS = {
    "qkv_bias": ".self_attn.q_proj.bias",
    "output_bias": ".self_attn.o_proj.bias",
    "mlp_bias": ".mlp.up_proj.bias",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: The file.
        num_bytes: Its length.
        architecture: llama, qwen2 or deci.
        type: Type of its matrices.
        difference: Largest difference between a number of the model and that of the
            file; 0 for F32.
        worst: The tensor in which it is.
    """

    path: Path
    num_bytes: int
    architecture: str
    type: str
    difference: float
    worst: str


@dataclasses.dataclass(frozen=True)
class _Item:
    """A tensor of the file, and how its numbers are made."""

    slot: Slot
    type: str
    source: Tensor | None  # None for zeros, and ones in norms.

    def read(self) -> np.ndarray:
        """Returns the numbers as the file has them, float32."""
        if self.source is None:
            fill = np.ones if "norm" in self.slot.hf else np.zeros
            return fill(self.slot.gguf_shape, np.float32)
        array = np.asarray(self.source.read(), np.float32)
        return np.ascontiguousarray(self.slot.to_gguf(array))


def write_gguf(
    model: Foreign, path: str | os.PathLike[str], kind: str = "F16"
) -> Written:
    """Writes a GGUF file, and compares it with the model.

    Args:
        model: A Llama, Mistral or Qwen2, also with layers that differ.
        path: The file.
        kind: Type of its matrices, one of `TYPES`.

    Returns:
        What was written, and how much it differs.

    Raises:
        ConfigError: If this kind of model or type is not written, or the gguf library
            is not installed.
        DataError: If the model does not fit into such a file.
    """
    check_library()
    if kind not in TYPES:
        raise ConfigError(f"--type={kind!r:.40} is not written. Known: {TYPES}.")
    plan = plan_file(dict(model.config))
    items = list(_items(model, plan, kind))
    settings = _settings(model, plan, kind)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            _write(Path(temporary), plan, settings, items)
            difference, worst = _compare(Path(temporary), items)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{show(str(path))} cannot be written: {reason}.") from None
    size = path.stat().st_size
    return Written(path, size, plan.architecture, kind, difference, worst)


def _items(model: Foreign, plan: Blueprint, kind: str) -> Iterator[_Item]:
    """Yields the tensors of the file."""
    tensors = dict(model.tensors)
    is_tied = plan.config["tie_word_embeddings"]
    if is_tied:
        tensors.pop("lm_head.weight", None)
    parts = {p for p, m in _PARTS.items() if any(n.endswith(m) for n in tensors)}
    parts |= set() if is_tied else {"output"}
    used = set()
    for slot in slots(plan.architecture, plan.config, parts):
        name, is_filler = _source(slot.hf, plan)
        used.add(name)
        yield _Item(slot, _type_of(slot, kind), _find(tensors, slot, name, is_filler))
    gone = {f"model.layers.{i}." for i in range(len(plan.shapes))}
    gone -= {f"model.layers.{i}." for i in plan.sources}
    extra = [n for n in tensors if n not in used and not n.startswith(tuple(gone))]
    if extra:
        raise DataError(f"the tensor {min(extra)!r:.80} has no place in a GGUF file.")
    rope = plan.config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        divisors = llama3_divisors(rope, plan.config["head_dim"])
        slot = Slot(ROPE_TENSOR, ROPE_TENSOR, divisors.shape)
        yield _Item(slot, "F32", Tensor.of(divisors))


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


def _type_of(slot: Slot, kind: str) -> str:
    """Returns the type of a tensor.

    Raises:
        DataError: If its rows are no whole number of blocks.
    """
    import gguf

    if len(slot.shape) < 2:
        return "F32"
    if slot.gguf in ("token_embd.weight", "output.weight"):
        kind = TABLES.get(kind, kind)
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    if slot.gguf_shape[-1] % block:
        raise DataError(
            f"{slot.hf} has rows of {slot.gguf_shape[-1]} numbers, and {kind} holds "
            f"blocks of {block}. Choose --type=F16, or a model whose MLP widths are "
            f"multiples of {block} (resize.multiple={block})."
        )
    return kind


def _settings(model: Foreign, plan: Blueprint, kind: str) -> dict[str, Any]:
    import gguf

    names = dict(F32="ALL_F32")
    file_type = gguf.LlamaFileType[names.get(kind, f"MOSTLY_{kind}")]
    own = {f"{plan.architecture}.{k}": v for k, v in model_settings(plan).items()}
    general = {"general.type": "model", "general.file_type": int(file_type)}
    general["general.quantization_version"] = gguf.GGML_QUANT_VERSION
    return general | own | tokenizer_settings(model, plan.config["vocab_size"])


def _write(
    path: Path, plan: Blueprint, settings: dict[str, Any], items: list[_Item]
) -> None:
    """Writes the whole file and has the system put it on the disk."""
    import gguf

    writer = gguf.GGUFWriter(path, plan.architecture)
    try:
        for key, value in settings.items():
            _add(writer, key, value)
        for item in items:
            type_ = gguf.GGMLQuantizationType[item.type]
            block, size = gguf.GGML_QUANT_SIZES[type_]
            shape = item.slot.gguf_shape
            num_bytes = int(np.prod(shape)) // block * size
            writer.add_tensor_info(
                item.slot.gguf, shape, np.dtype(np.float32), num_bytes, raw_dtype=type_
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for item in items:
            writer.write_tensor_data(_encode(item))
        writer.flush()
        os.fsync(writer.fout[0].fileno()) if writer.fout else None
    finally:
        writer.close()


def _add(writer: Any, key: str, value: Any) -> None:
    """Adds a setting of the kind that llama.cpp expects."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _encode(item: _Item) -> np.ndarray:
    import gguf

    array = item.read()
    if not np.isfinite(array).all():
        raise DataError(f"{item.slot.hf} has a number that is not finite.")
    if item.type == "F16" and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise DataError(f"{item.slot.hf} has a number that F16 cannot hold.")
    with np.errstate(all="ignore"):  # Blocks of zeros; the comparison finds the rest.
        return gguf.quants.quantize(array, gguf.GGMLQuantizationType[item.type])


def _compare(path: Path, items: list[_Item]) -> tuple[float, str]:
    """Reads the file again, and returns the largest difference and where it is."""
    read_gguf(path)
    header = read_header(path)
    difference, worst = -1.0, ""
    for item in items:
        found = read_numbers(header, item.slot.gguf)
        found -= item.read()
        largest = float(np.abs(found).max(initial=0))
        if largest > difference:
            difference, worst = largest, item.slot.hf
    return difference, worst
