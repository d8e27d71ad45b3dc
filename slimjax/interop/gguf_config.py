"""The ``config.json`` that the settings of a GGUF file amount to."""

from typing import Any

from slimjax.interop.gguf_header import Header
from slimjax.interop.gguf_layout import SIZES, widest
from slimjax.interop.gguf_numbers import read_numbers
from slimjax.interop.gguf_rope import DEFAULT_BASE, ORIGINAL_LENGTH, find_llama3

ROPE_TENSOR = "rope_freqs.weight"
_MARKS = {
    "output": ".output.weight",
    "qkv_bias": ".attn_q.bias",
    "output_bias": ".attn_output.bias",
    "mlp_bias": ".ffn_up.bias",
    "token_types": ".token_types.weight",
}


def parts_of(header: Header) -> set[str]:
    """Returns which parts that a model may have are in a file."""
    return {
        part
        for part, mark in _MARKS.items()
        if any(f".{name}".endswith(mark) for name in header.tensors)
    }


def make_config(header: Header, name: str, own: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of ``config.json``.

    Args:
        header: The header of the file.
        name: Its architecture.
        own: The architecture's settings.

    Raises:
        DataError: If the settings do not fit together, or tell of something that would
            be ignored.
    """
    _check(header, name, own)
    make = {"gpt2": _gpt2, "bert": _bert}.get(name, _llama)
    return make(header, own) | _special_ids(header)


def _check(header: Header, name: str, own: dict[str, Any]) -> None:
    for key in ("block_count", "embedding_length", "context_length"):
        if not own[key]:
            raise header.refuse(f"{name}.{key} is 0.")
    if own["block_count"] > len(header.tensors):
        raise header.refuse(
            f"{name}.block_count={own['block_count']}, but the file has "
            f"{len(header.tensors)} tensors."
        )
    window = own.get("attention.sliding_window", 0)
    if 0 < window < own["context_length"]:
        raise header.refuse(f"{name}.attention.sliding_window={window} is not read.")
    causal = name != "bert"
    if own.get("attention.causal", causal) != causal:
        raise header.refuse(f"{name}.attention.causal={not causal} is not supported.")
    layout = own.get("tensor_data_layout", "")
    if layout not in ("", "Meta AI original pth"):
        raise header.refuse(f"{name}.tensor_data_layout={layout!r:.40} is unknown.")
    rows = _vocab_size(header)
    if own.get("vocab_size", rows) != rows:
        raise header.refuse(f"{name}.vocab_size is not the number of rows, {rows}.")


def _vocab_size(header: Header) -> int:
    table = header.tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        raise header.refuse("token_embd.weight is missing, or is no table.")
    return table.shape[0]


def _one(header: Header, own: dict[str, Any], key: str, default: int = 0) -> int:
    """Returns a number that all layers share."""
    value = own.get(key, default)
    values = set(value) if isinstance(value, list) else {value}
    if len(values) != 1 or values == {0}:
        raise header.refuse(f"{key}={value!r:.80} must be one number above 0.")
    return values.pop()


def _each(own: dict[str, Any], key: str, default: Any = None) -> list[int]:
    value = own.get(key, default)
    return value if isinstance(value, list) else [value] * own["block_count"]


def _layers(header: Header, own: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Returns heads, key/value heads and hidden width of each layer."""
    architecture = header.settings["general.architecture"]
    heads = _each(own, "attention.head_count")
    kv_heads = _each(own, "attention.head_count_kv", own["attention.head_count"])
    mlp = _each(own, "feed_forward_length")
    layers = list(zip(heads, kv_heads, mlp, strict=True))
    if architecture != "deci" and (len(set(layers)) > 1 or 0 in layers[0]):
        raise header.refuse(f"layers of {architecture} files must be equal and whole.")
    for number, (many, few, _) in enumerate(layers):
        if bool(many) != bool(few) or (few and many % few):
            raise header.refuse(
                f"layer {number} has {many} heads and {few} key/value heads, which "
                "is not attention with groups."
            )
    return layers


def _llama(header: Header, own: dict[str, Any]) -> dict[str, Any]:
    layers, parts = _layers(header, own), parts_of(header)
    is_qwen = header.settings["general.architecture"] == "qwen2" or (
        "qkv_bias" in parts and "output_bias" not in parts
    )
    sizes = widest(layers)
    head_dim = _head_dim(header, own, sizes["num_attention_heads"])
    config = {
        "architectures": ["Qwen2ForCausalLM" if is_qwen else "LlamaForCausalLM"],
        "model_type": "qwen2" if is_qwen else "llama",
        "hidden_size": own["embedding_length"],
        "num_hidden_layers": own["block_count"],
        **sizes,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": own["attention.layer_norm_rms_epsilon"],
        "rope_parameters": _rope(header, own, head_dim),
        "max_position_embeddings": own["context_length"],
        "vocab_size": _vocab_size(header),
        "tie_word_embeddings": "output" not in parts,
        "dtype": "float32",
    }
    if not is_qwen:
        config["attention_bias"] = "qkv_bias" in parts
        config["mlp_bias"] = "mlp_bias" in parts
    if len(set(layers)) > 1:
        config["per_layer_config"] = {
            str(number): dict(zip(SIZES, layer, strict=True))
            for number, layer in enumerate(layers)
        }
    return config


def _head_dim(header: Header, own: dict[str, Any], heads: int) -> int:
    """Returns the width of heads, H."""
    if not heads:
        return own.get("attention.key_length", 2)
    told = own.get("attention.key_length", own["embedding_length"] // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if own.get(key, told) != told:
            raise header.refuse(f"{key}={own[key]} is not the width of heads, {told}.")
    if told < 2 or told % 2:
        raise header.refuse(f"heads are {told} wide, and rotary positions need pairs.")
    return told


def _rope(header: Header, own: dict[str, Any], head_dim: int) -> dict[str, Any]:
    """Returns ``rope_parameters``.

    Raises:
        DataError: If the scaling is neither linear nor llama3.
    """
    base = own.get("rope.freq_base", DEFAULT_BASE)
    if base <= 1:
        raise header.refuse(f"rope.freq_base={base} is not above 1.")
    kind = own.get("rope.scaling.type", "linear")
    factor = own.get("rope.scaling.factor", own.get("rope.scale_linear", 1.0))
    if kind not in ("none", "linear"):
        raise header.refuse(f"rope.scaling.type={kind!r:.40} is not supported.")
    if not factor > 0:
        raise header.refuse(f"rope.scaling.factor={factor} is not above 0.")
    if ROPE_TENSOR in header.tensors:
        if factor != 1:
            raise header.refuse(f"{ROPE_TENSOR} and a linear factor stand together.")
        length = own.get("rope.scaling.original_context_length", ORIGINAL_LENGTH)
        found = find_llama3(read_numbers(header, ROPE_TENSOR), base, head_dim, length)
        if found is None:
            raise header.refuse(f"{ROPE_TENSOR} is not the scaling of llama3.")
        return found
    if factor != 1 and kind == "linear":
        return {"rope_type": "linear", "rope_theta": base, "factor": factor}
    return {"rope_type": "default", "rope_theta": base}


def _gpt2(header: Header, own: dict[str, Any]) -> dict[str, Any]:
    width, heads = own["embedding_length"], _one(header, own, "attention.head_count")
    _check_heads(header, own, width, heads)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": width,
        "n_layer": own["block_count"],
        "n_head": heads,
        "n_inner": _one(header, own, "feed_forward_length"),
        "n_positions": own["context_length"],
        "n_ctx": own["context_length"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": own["attention.layer_norm_epsilon"],
        "vocab_size": _vocab_size(header),
        "tie_word_embeddings": "output" not in parts_of(header),
        "dtype": "float32",
    }


def _bert(header: Header, own: dict[str, Any]) -> dict[str, Any]:
    width, heads = own["embedding_length"], _one(header, own, "attention.head_count")
    _check_heads(header, own, width, heads)
    types = header.tensors.get("token_types.weight")
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": own["block_count"],
        "num_attention_heads": heads,
        "intermediate_size": _one(header, own, "feed_forward_length"),
        "hidden_act": "gelu",
        "max_position_embeddings": own["context_length"],
        "type_vocab_size": types.shape[0] if types else 0,
        "layer_norm_eps": own["attention.layer_norm_epsilon"],
        "vocab_size": _vocab_size(header),
        "dtype": "float32",
    }


def _check_heads(header: Header, own: dict[str, Any], width: int, heads: int) -> None:
    if width % heads or _one(header, own, "attention.head_count_kv", heads) != heads:
        raise header.refuse(f"attention.head_count={heads} does not fit {width}.")


def _special_ids(header: Header) -> dict[str, int]:
    """Returns the ids that configs tell."""
    names = dict(bos="bos", eos="eos", padding="pad")
    found = {}
    for key, name in names.items():
        value = header.settings.get(f"tokenizer.ggml.{key}_token_id")
        if type(value) is int and 0 <= value < _vocab_size(header):
            found[f"{name}_token_id"] = value
    return found
