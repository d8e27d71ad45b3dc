"""Reads a GGUF file as a model in the Hugging Face form, one tensor at a time.

Everything that the file says about itself is checked first: the header against the
file's length, settings against what is known of the architecture, and the name and
shape of each tensor against the settings.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.interop.foreign import Foreign, Source, Tensor
from slimjax.interop.gguf_config import ROPE_TENSOR, make_config, parts_of
from slimjax.interop.gguf_header import Header, read_header
from slimjax.interop.gguf_layout import SIZES, Slot, layer_shapes, slots, widest
from slimjax.interop.gguf_numbers import check_types, read_numbers
from slimjax.interop.gguf_settings import own_settings
from slimjax.interop.gguf_tokenizer import tokenizer_files

PADDED_MLP = 32
"""Hidden width of an MLP of zeros, which stands where a ``deci`` layer has none."""

MOSTLY_EQUAL = 0.2
"""Largest distance, relative to a table's size, that rounding to few bits explains."""

POOLS = {0: "", 1: "pooling_mode_mean_tokens", 2: "pooling_mode_cls_token"}
"""Settings of sentence-transformers, by the numbers of GGUF files."""


def read_gguf(path: str | os.PathLike[str]) -> Foreign:
    """Reads a GGUF file.

    Args:
        path: The file, of architecture llama, qwen2, deci, gpt2 or bert.

    Returns:
        The model, whose numbers are read from the file when they are asked for.

    Raises:
        ConfigError: If the gguf library is not installed.
        DataError: If it is damaged, or holds something that would be ignored.
    """
    header = read_header(Path(path))
    name, own = own_settings(header)
    check_types(header)
    config = make_config(header, name, own)
    parts = parts_of(header)
    listed = list(slots(name, config, parts))
    _check(header, listed, name)
    files = tokenizer_files(header, config["vocab_size"], own["context_length"])
    files |= _pooling(header, own)
    if name == "deci":
        config = _without_zeros(header, config)
        listed = _kept(listed, config)
    if "output" in parts and _is_tied(header, name):
        config = config | {"tie_word_embeddings": True}
        listed = [slot for slot in listed if slot.gguf != "output.weight"]
    tensors = {
        slot.hf: Tensor(
            slot.shape, header.tensors[slot.gguf].type, partial(_read, header, slot)
        )
        for slot in listed
    }
    source = Source(os.fspath(path), _digest(header.path), header.size)
    return Foreign(config, tensors, files, source)


def _pooling(header: Header, own: dict[str, Any]) -> dict[str, bytes]:
    """Returns the file that says how vectors of tokens become one of a text."""
    kind = own.get("pooling_type", 0)
    if kind not in POOLS:
        raise header.refuse(f"pooling_type={kind} is not supported. Known: 0, 1, 2.")
    if not POOLS[kind]:
        return {}
    content = {"word_embedding_dimension": own["embedding_length"], POOLS[kind]: True}
    return {"1_Pooling/config.json": json.dumps(content).encode()}


def _read(header: Header, slot: Slot) -> np.ndarray:
    return slot.to_hf(read_numbers(header, slot.gguf))


def _check(header: Header, listed: Iterable[Slot], name: str) -> None:
    """Refuses tensors that are missing, left over or of another shape."""
    wanted = {slot.gguf: slot.gguf_shape for slot in listed}
    extra = header.tensors.keys() - wanted.keys() - {ROPE_TENSOR}
    if name in ("gpt2", "bert"):
        extra |= header.tensors.keys() & {ROPE_TENSOR}
    if extra:
        raise header.refuse(
            f"the tensor {min(extra)!r:.80} is no part of a {name} model."
        )
    for gguf_name, shape in wanted.items():
        entry = header.tensors.get(gguf_name)
        if entry is None:
            raise header.refuse(f"the tensor {gguf_name} is missing.")
        if entry.shape != shape:
            raise header.refuse(
                f"{gguf_name} has the shape {list(entry.shape)}, but the settings "
                f"want {list(shape)}."
            )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_tied(header: Header, name: str) -> bool:
    """Whether both tables of tokens hold the same numbers; warns if nearly so."""
    one, other = (
        read_numbers(header, table) for table in ("token_embd.weight", "output.weight")
    )
    if np.array_equal(one, other):
        return True
    size = np.vdot(one, one)
    other -= one
    if np.vdot(other, other) < MOSTLY_EQUAL**2 * size:
        logging.getLogger("slimjax").warning(
            "The %s file holds two tables of tokens that differ as much as rounding "
            "explains; the original had one. Both are kept.",
            name,
        )
    return False


def _without_zeros(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without sublayers that only fill up the layers of a file.

    ``deci`` files have an MLP of zeros where a layer has attention alone, and a head of
    zeros where the first layer has none.
    """
    shapes = layer_shapes(config)
    layers = []
    for number, shape in enumerate(shapes):
        heads, kv_heads, mlp = shape.heads, shape.kv_heads, shape.mlp
        if heads == 1 and _is_zero(header, f"blk.{number}.attn_output"):
            heads = kv_heads = 0
        if mlp == PADDED_MLP and _is_zero(header, f"blk.{number}.ffn_down"):
            mlp = 0
        layers.append((heads, kv_heads, mlp))
    if layers == [(s.heads, s.kv_heads, s.mlp) for s in shapes]:
        return config
    sizes = widest(layers)
    own = {str(i): dict(zip(SIZES, l, strict=True)) for i, l in enumerate(layers)}
    return config | sizes | {"per_layer_config": own}


def _is_zero(header: Header, name: str) -> bool:
    if f"{name}.bias" in header.tensors:
        return False
    return not read_numbers(header, f"{name}.weight").any()


def _kept(listed: list[Slot], config: dict[str, Any]) -> list[Slot]:
    """Returns the slots of layers that a config still has."""
    gone = set()
    for number, shape in enumerate(layer_shapes(config)):
        gone |= set() if shape.heads else {f"blk.{number}.attn_"}
        gone |= set() if shape.mlp else {f"blk.{number}.ffn_"}
    return [slot for slot in listed if not slot.gguf.startswith(tuple(gone))]
