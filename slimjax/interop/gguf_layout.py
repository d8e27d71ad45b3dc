"""Which tensor of a GGUF file is which tensor of a Hugging Face folder.

One table serves reading and writing. Files of Llamas keep the rows of queries and keys
in pairs that turn together; Hugging Face files keep the first halves of all pairs
before the second ones. GPT-2's kernels lie the other way round.
"""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

SIZES = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
"""Settings of a ``config.json`` that may differ from layer to layer."""

SAME, PAIRS, TURNED = "same", "pairs", "turned"
"""How a tensor of a GGUF file differs: not, in the order of rows, by its axes."""


@dataclasses.dataclass(frozen=True)
class LayerShape:
    """The sizes of one layer; 0 where a sublayer is missing.

    Attributes:
        heads: Query heads, N.
        kv_heads: Key/value heads, K.
        mlp: Hidden width of the MLP, F.
    """

    heads: int
    kv_heads: int
    mlp: int


@dataclasses.dataclass(frozen=True)
class Slot:
    """One tensor under both names.

    Attributes:
        gguf: Its name in GGUF files.
        hf: Its name in Hugging Face files.
        shape: Its shape in Hugging Face files.
        layout: What differs: `SAME`, `PAIRS` or `TURNED`.
        heads: Of `PAIRS`: number of heads.
    """

    gguf: str
    hf: str
    shape: tuple[int, ...]
    layout: str = SAME
    heads: int = 0

    @property
    def gguf_shape(self) -> tuple[int, ...]:
        """Its shape in GGUF files, as NumPy has it."""
        return self.shape[::-1] if self.layout == TURNED else self.shape

    def to_hf(self, array: np.ndarray) -> np.ndarray:
        """Returns the array of a GGUF file as Hugging Face files have it."""
        if self.layout == PAIRS:
            return _swap(array, self.heads, -1, 2)
        return np.ascontiguousarray(array.T) if self.layout == TURNED else array

    def to_gguf(self, array: np.ndarray) -> np.ndarray:
        """Returns the array of a Hugging Face file as GGUF files have it."""
        if self.layout == PAIRS:
            return _swap(array, self.heads, 2, -1)
        return np.ascontiguousarray(array.T) if self.layout == TURNED else array


def _swap(array: np.ndarray, heads: int, first: int, second: int) -> np.ndarray:
    """Returns rows of heads with two axes of each head's rows swapped."""
    split = array.reshape(heads, first, second, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(array.shape)


def layer_shapes(config: dict[str, Any]) -> list[LayerShape]:
    """Returns the layers of a config of the Llama family."""
    own = config.get("per_layer_config") or {}
    shapes = []
    for number in range(config["num_hidden_layers"]):
        merged = config | own.get(str(number), {})
        shapes.append(LayerShape(*(merged[name] for name in SIZES)))
    return shapes


def widest(layers: Collection[tuple[int, int, int]]) -> dict[str, int]:
    """Returns the largest sizes of layers, for what a config tells of all of them.

    Examples:
        >>> widest([(4, 2, 0), (6, 3, 32)])["num_attention_heads"]
        6
    """
    columns = zip(*layers, strict=True)
    return {n: max(c) or 1 for n, c in zip(SIZES, columns, strict=True)}


def slots(
    architecture: str, config: dict[str, Any], parts: Collection[str]
) -> Iterator[Slot]:
    """Yields the tensors of a model.

    Args:
        architecture: That of the GGUF file.
        config: The content of ``config.json``.
        parts: What a model may have: ``output``, ``qkv_bias``, ``output_bias``,
            ``mlp_bias`` and ``token_types``.
    """
    if architecture == "gpt2":
        yield from _gpt2(config, parts)
    elif architecture == "bert":
        yield from _bert(config, parts)
    else:
        turns = PAIRS if architecture in ("llama", "deci") else SAME
        yield from _llama(config, parts, turns)


def _llama(config: dict[str, Any], parts: Collection[str], turns: str) -> Iterator:
    width, table = config["hidden_size"], (config["vocab_size"], config["hidden_size"])
    yield Slot("token_embd.weight", "model.embed_tokens.weight", table)
    yield Slot("output_norm.weight", "model.norm.weight", (width,))
    if "output" in parts:
        yield Slot("output.weight", "lm_head.weight", table)
    for number, layer in enumerate(layer_shapes(config)):
        here, there = f"blk.{number}.", f"model.layers.{number}."
        if layer.heads:
            yield from _llama_attention(here, there, config, layer, parts, turns)
        if layer.mlp:
            yield from _llama_mlp(here, there, width, layer.mlp, parts)


def _llama_attention(
    here: str,
    there: str,
    config: dict[str, Any],
    layer: LayerShape,
    parts: Collection[str],
    turns: str,
) -> Iterator[Slot]:
    width, head_dim = config["hidden_size"], config["head_dim"]
    yield Slot(f"{here}attn_norm.weight", f"{there}input_layernorm.weight", (width,))
    rows = dict(q=layer.heads, k=layer.kv_heads, v=layer.kv_heads)
    for letter, heads in rows.items():
        layout = SAME if letter == "v" else turns
        own, other = f"{here}attn_{letter}", f"{there}self_attn.{letter}_proj"
        size = heads * head_dim
        yield Slot(f"{own}.weight", f"{other}.weight", (size, width), layout, heads)
        if "qkv_bias" in parts:
            yield Slot(f"{own}.bias", f"{other}.bias", (size,), layout, heads)
    own, other = f"{here}attn_output", f"{there}self_attn.o_proj"
    shape = (width, layer.heads * head_dim)
    yield Slot(f"{own}.weight", f"{other}.weight", shape)
    if "output_bias" in parts:
        yield Slot(f"{own}.bias", f"{other}.bias", (width,))


def _llama_mlp(
    here: str, there: str, width: int, mlp: int, parts: Collection[str]
) -> Iterator[Slot]:
    norm = f"{there}post_attention_layernorm.weight"
    yield Slot(f"{here}ffn_norm.weight", norm, (width,))
    for name, shape in dict(
        gate=(mlp, width), up=(mlp, width), down=(width, mlp)
    ).items():
        own, other = f"{here}ffn_{name}", f"{there}mlp.{name}_proj"
        yield Slot(f"{own}.weight", f"{other}.weight", shape)
        if "mlp_bias" in parts:
            yield Slot(f"{own}.bias", f"{other}.bias", shape[:1])


def _pair(own: str, other: str, shape: tuple[int, ...], layout: str = SAME) -> Iterator:
    """Yields a kernel or a norm, and its bias."""
    yield Slot(f"{own}.weight", f"{other}.weight", shape, layout)
    size = shape[-1] if layout == TURNED else shape[0]
    yield Slot(f"{own}.bias", f"{other}.bias", (size,))


def _gpt2(config: dict[str, Any], parts: Collection[str]) -> Iterator[Slot]:
    width, table = config["n_embd"], (config["vocab_size"], config["n_embd"])
    hidden = config["n_inner"]
    yield Slot("token_embd.weight", "transformer.wte.weight", table)
    places = (config["n_positions"], width)
    yield Slot("position_embd.weight", "transformer.wpe.weight", places)
    yield from _pair("output_norm", "transformer.ln_f", (width,))
    if "output" in parts:
        yield Slot("output.weight", "lm_head.weight", table)
    for number in range(config["n_layer"]):
        here, there = f"blk.{number}.", f"transformer.h.{number}."
        yield from _pair(f"{here}attn_norm", f"{there}ln_1", (width,))
        yield from _pair(f"{here}ffn_norm", f"{there}ln_2", (width,))
        kernels = {
            ("attn_qkv", "attn.c_attn"): (width, 3 * width),
            ("attn_output", "attn.c_proj"): (width, width),
            ("ffn_up", "mlp.c_fc"): (width, hidden),
            ("ffn_down", "mlp.c_proj"): (hidden, width),
        }
        for (own, other), shape in kernels.items():
            yield from _pair(f"{here}{own}", f"{there}{other}", shape, TURNED)


def _bert(config: dict[str, Any], parts: Collection[str]) -> Iterator[Slot]:
    width, hidden = config["hidden_size"], config["intermediate_size"]
    tables = {
        ("token_embd", "word"): config["vocab_size"],
        ("position_embd", "position"): config["max_position_embeddings"],
    }
    if "token_types" in parts:
        tables["token_types", "token_type"] = config["type_vocab_size"]
    for (own, other), rows in tables.items():
        name = f"embeddings.{other}_embeddings.weight"
        yield Slot(f"{own}.weight", name, (rows, width))
    yield from _pair("token_embd_norm", "embeddings.LayerNorm", (width,))
    for number in range(config["num_hidden_layers"]):
        here, there = f"blk.{number}.", f"encoder.layer.{number}."
        inner = f"{there}attention."
        for letter, word in dict(q="query", k="key", v="value").items():
            name = f"{inner}self.{word}"
            yield from _pair(f"{here}attn_{letter}", name, (width, width))
        yield from _pair(f"{here}attn_output", f"{inner}output.dense", (width, width))
        norm = f"{inner}output.LayerNorm"
        yield from _pair(f"{here}attn_output_norm", norm, (width,))
        name = f"{there}intermediate.dense"
        yield from _pair(f"{here}ffn_up", name, (hidden, width))
        yield from _pair(f"{here}ffn_down", f"{there}output.dense", (width, hidden))
        norm = f"{there}output.LayerNorm"
        yield from _pair(f"{here}layer_output_norm", norm, (width,))
