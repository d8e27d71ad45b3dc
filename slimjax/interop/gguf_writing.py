"""Writes a model in the Hugging Face form as one GGUF file, a tensor at a time.

The file is written beside its place, read again and compared, and only then moved
there; whatever goes wrong leaves no file behind.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, DataError
from slimjax.interop.foreign import Foreign
from slimjax.interop.gguf_blocks import Blocks
from slimjax.interop.gguf_header import ALIGNMENT, Header, check_library, read_header
from slimjax.interop.gguf_items import Item, encode, list_items
from slimjax.interop.gguf_metadata import Blueprint, model_settings, plan_file
from slimjax.interop.gguf_numbers import read_rows
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_tokenizer_writing import tokenizer_settings
from slimjax.text.files import show

TYPES = ("F32", "F16", "Q8_0", "Q4_0", "Q4_1")
"""Types of matrices that are written; vectors are always float32."""


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


def write_gguf(
    model: Foreign,
    path: str | os.PathLike[str],
    kind: str = "F16",
    *,
    tokenizer: Mapping[str, Any] | None = None,
    blocks: Mapping[str, Blocks] = MappingProxyType({}),
    check: Callable[[Path], Any] | None = None,
) -> Written:
    """Writes a GGUF file, and compares it with the model.

    Args:
        model: A Llama, Mistral or Qwen2, also with layers that differ.
        path: The file.
        kind: Type of its matrices, one of `TYPES`.
        tokenizer: Settings of the tokenizer; None for those of the model's files.
        blocks: Matrices that are rounded already, by their names in the model; others
            are rounded to the nearest.
        check: Is called with the whole file before it is moved to its place; what it
            raises is raised, and leaves no file.

    Returns:
        What was written, and how much it differs.

    Raises:
        ConfigError: If this kind of model or type is not written, or the gguf library
            is not installed.
        DataError: If the model does not fit into such a file.
    """
    draft = _draft(model, kind, tokenizer, blocks)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            _write(Path(temporary), draft)
            difference, worst = _compare(Path(temporary), draft.items)
            if check is not None:
                check(Path(temporary))
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{show(str(path))} cannot be written: {reason}.") from None
    size = path.stat().st_size
    return Written(path, size, draft.architecture, kind, difference, worst)


def predict_bytes(
    model: Foreign, kind: str = "F16", *, tokenizer: Mapping[str, Any] | None = None
) -> int:
    """Returns the length of the file that `write_gguf` would write.

    No tensor is read, so those of the model may have nothing but a shape.

    Args:
        model: The model.
        kind: Type of its matrices, one of `TYPES`.
        tokenizer: Settings of the tokenizer; None for those of the model's files.

    Raises:
        ConfigError: If this kind of model or type is not written.
        DataError: If the model does not fit into such a file.
    """
    draft = _draft(model, kind, tokenizer, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header"
        _begin(path, draft).close()
        length = path.stat().st_size
    pad = lambda size: -(-size // ALIGNMENT) * ALIGNMENT
    return pad(length) + sum(pad(item.num_bytes) for item in draft.items)


@dataclasses.dataclass(frozen=True)
class _Draft:
    """All of a file but its numbers."""

    architecture: str
    settings: dict[str, Any]
    items: list[Item]


def _draft(
    model: Foreign,
    kind: str,
    tokenizer: Mapping[str, Any] | None,
    blocks: Mapping[str, Blocks],
) -> _Draft:
    check_library()
    if kind not in TYPES:
        raise ConfigError(f"--type={kind!r:.40} is not written. Known: {TYPES}.")
    plan = plan_file(dict(model.config))
    settings, size = _settings(plan, kind), plan.config["vocab_size"]
    settings |= tokenizer_settings(model, size) if tokenizer is None else tokenizer
    items = list(list_items(model, plan, kind, blocks))
    return _Draft(plan.architecture, settings, items)


def _settings(plan: Blueprint, kind: str) -> dict[str, Any]:
    import gguf

    names = dict(F32="ALL_F32")
    file_type = gguf.LlamaFileType[names.get(kind, f"MOSTLY_{kind}")]
    own = {f"{plan.architecture}.{k}": v for k, v in model_settings(plan).items()}
    general = {"general.type": "model", "general.file_type": int(file_type)}
    general["general.quantization_version"] = gguf.GGML_QUANT_VERSION
    return general | own


def _begin(path: Path, draft: _Draft) -> Any:
    """Writes what stands before the numbers, and returns the writer."""
    import gguf

    writer = gguf.GGUFWriter(path, draft.architecture)
    for key, value in draft.settings.items():
        add_setting(writer, key, value)
    for item in draft.items:
        writer.add_tensor_info(
            item.slot.gguf,
            item.slot.gguf_shape,
            np.dtype(np.float32),
            item.num_bytes,
            raw_dtype=gguf.GGMLQuantizationType[item.type],
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def _write(path: Path, draft: _Draft) -> None:
    """Writes the whole file and has the system put it on the disk."""
    writer = _begin(path, draft)
    try:
        for item in draft.items:
            writer.write_tensor_data(encode(item))
        writer.flush()
        os.fsync(writer.fout[0].fileno())
    finally:
        writer.close()


def add_setting(writer: Any, key: str, value: Any) -> None:
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


def _compare(path: Path, items: list[Item]) -> tuple[float, str]:
    """Reads the file again, and returns the largest difference and where it is."""
    read_gguf(path)
    header = read_header(path)
    difference, worst = -1.0, ""
    for item in items:
        largest = _largest_difference(header, item)
        if largest > difference:
            difference, worst = largest, item.slot.hf
    return difference, worst


def _largest_difference(header: Header, item: Item) -> float:
    expected = item.read()
    expected = expected.reshape(-1, expected.shape[-1])
    differences = [
        float(np.abs(rows - expected[place]).max(initial=0))
        for place, rows in read_rows(header, item.slot.gguf)
    ]
    return max(differences)
