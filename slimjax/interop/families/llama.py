"""Llama, Mistral, SmolLM and Qwen2: rotary decoders with RMS norms and gated MLPs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.errors import DataError
from slimjax.interop.families.described import (
    ROW,
    Described,
    base_of,
    kind_of,
    list_layers,
    make_layers,
    their_activation,
)
from slimjax.interop.families.links import Link, dense, table, vector
from slimjax.interop.families.values import Values
from slimjax.models.checks import ROPES
from slimjax.models.config import ModelConfig
from slimjax.models.paths import layer_name
from slimjax.models.style import LLAMA
from slimjax.trees import Path

PREFIX = {"llama": "model.", "mistral": "model.", "qwen2": "model."}
HEAD_NAMES = ("lm_head.",)
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
}
KINDS = {"ForCausalLM": "lm", "Model": "lm"}
LAYERS = {
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "mlp_dim": "intermediate_size",
}
ATTENTION = (("query", "q"), ("key", "k"), ("value", "v"))
TIED = {"lm_head.weight": "embed_tokens.weight"}
UNTIED = ("lm_head.weight",)
LEFT_OUT = (r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)
"""Tensors that hold no weights, or none that are kept."""


def describe(config: Mapping[str, Any]) -> Described:
    """Returns a model in our words.

    Raises:
        DataError: If it is not supported, naming the setting.
    """
    values = Values(config)
    task = kind_of(values, KINDS, "lm")
    values.refuse("use_mrope", False)
    values.refuse("num_local_experts", 0, 1)
    shape = _shape(values)
    model: dict[str, Any] = dict(kind="decoder", style="llama", dtype="float32")
    model |= shape | dict(
        architecture=make_layers(values, shape, LAYERS),
        mlp=_mlp(values),
        bias=_bias(values),
        tied=values.flag("tie_word_embeddings", False),
        norm_epsilon=values.number("rms_norm_eps", 1e-6),
        window=_window(values),
        embed_scale=1.0,
        **_rope(values),
    )
    longest = values.integer("max_position_embeddings", 2048)
    vocab_size = values.integer("vocab_size", 32000)
    return Described(task, model, min(longest, ROW), vocab_size)


def links(
    model: ModelConfig, config: Mapping[str, Any], order: tuple[int, ...] = ()
) -> list[Link]:
    """Returns which tensor is which weight.

    Args:
        model: The model.
        config: Not used.
        order: Not used: a decoder has no classes.
    """
    del config, order
    found = [table(("tokens", "embedding"), "embed_tokens.weight")]
    for number, layer in enumerate(model.layers):
        name, theirs = layer_name(number), f"layers.{number}"
        if layer.attention:
            found += _attention((name, "attention"), theirs, model.main.style.bias)
        if layer.mlp:
            found += _gated((name, "mlp"), theirs, model.main.style.bias)
    if model.layers:
        found.append(vector(("norm", "scale"), "norm.weight"))
    if model.heads[0].table == "own":
        found.append(table((model.heads[0].module, "table"), "lm_head.weight"))
    return found


def _attention(path: Path, theirs: str, bias: bool | str) -> list[Link]:
    norm = f"{theirs}.input_layernorm.weight"
    found, own = [vector((*path, "norm", "scale"), norm)], f"{theirs}.self_attn"
    for ours, letter in ATTENTION:
        name = f"{own}.{letter}_proj"
        found += dense((*path, ours), name, has_bias=bool(bias))
    has_bias = bias in (True, "attention")
    return found + dense((*path, "out"), f"{own}.o_proj", inputs=2, has_bias=has_bias)


def _gated(path: Path, theirs: str, bias: bool | str) -> list[Link]:
    norm = f"{theirs}.post_attention_layernorm.weight"
    found = [vector((*path, "norm", "scale"), norm)]
    for ours in ("gate", "up", "down"):
        name = f"{theirs}.mlp.{ours}_proj"
        found += dense((*path, ours), name, has_bias=bias is True)
    return found


def config_of(
    model: ModelConfig, base: Mapping[str, Any], task: str, codecs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the settings of a model of ours.

    Args:
        model: The model.
        base: Settings of the one that it was made from; {} for none.
        task: Not used: it is always the next token.
        codecs: Not used: a decoder has no classes.
    """
    del task, codecs
    main, style = model.main, model.main.style
    kind = base.get("model_type")
    if kind not in CLASSES or (kind == "qwen2") != (style.bias == "qkv"):
        kind = "qwen2" if style.bias == "qkv" else "llama"
    heads = [layer.head_dim for layer in model.layers]
    scaling = main.rope_scaling
    rope: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        values = dataclasses.astuple(scaling)
        names = ROPES[scaling.kind]
        rope = dict(zip(names, values, strict=False))
    rope["rope_theta"] = main.rope_base
    config = base_of(base) | {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "vocab_size": main.num_inputs,
        "hidden_size": main.width,
        "num_hidden_layers": len(model.layers),
        **list_layers(model.layers, LAYERS),
        "head_dim": heads[0] if heads else 2,
        "hidden_act": their_activation(style.activation),
        "rms_norm_eps": main.epsilon,
        "tie_word_embeddings": model.heads[0].table == "tied",
        "rope_theta": main.rope_base,
        "rope_parameters": rope,
        "attention_bias": style.bias in (True, "attention"),
        "mlp_bias": style.bias is True,
    }
    if scaling is not None:  # The older way, for transformers 4.
        own = {name: value for name, value in rope.items() if name != "rope_theta"}
        config["rope_scaling"] = own
    if kind in ("mistral", "qwen2"):
        config["sliding_window"] = main.window or None
    return {"max_position_embeddings": 2048} | config


def _shape(values: Values) -> dict[str, int]:
    width = values.integer("hidden_size", 4096)
    heads = values.integer("num_attention_heads", 32)
    head_dim = values.integer("head_dim", max(width // heads, 1))
    return dict(
        width=width,
        num_layers=values.integer("num_hidden_layers", 32),
        num_heads=heads,
        num_kv_heads=values.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        mlp_dim=values.integer("intermediate_size", 11008),
    )


def _mlp(values: Values) -> str:
    """Returns our name of the MLP; that of Llama has one of its own."""
    kind = values.activation("hidden_act", "silu")
    return LLAMA.mlp if kind == LLAMA.activation else f"gated_{kind}"


def _bias(values: Values) -> bool | str:
    if values.config.get("model_type") == "qwen2":
        return "qkv"
    attention = values.flag("attention_bias", False)
    if not values.flag("mlp_bias", False):
        return "attention" if attention else False
    if not attention:
        raise DataError(
            "config.json: mlp_bias=True without attention_bias is not supported."
        )
    return True


def _window(values: Values) -> int:
    """Returns the positions that are seen, 0 for all.

    As in transformers, a Llama has no window, and layers of a Mistral have no kinds.
    """
    config = values.config
    if config.get("model_type") == "llama":
        return 0
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or not all(isinstance(k, str) for k in kinds):
        raise DataError("config.json: layer_types must be a list of texts.")
    if config.get("model_type") == "qwen2":
        if not values.flag("use_sliding_window", False):
            return 0
        raise DataError(
            "config.json: a sliding window in some layers alone is not supported."
        )
    window = config.get("sliding_window", 4096)
    if window is None:
        return 0
    window = Values({"sliding_window": window}).integer("sliding_window")
    longest = values.integer("max_position_embeddings", 2048)
    return window if window < longest else 0


def _rope(values: Values) -> dict[str, Any]:
    """Returns ``rope_base`` and ``rope_scaling``, of files of both kinds.

    Where a file has both, the older ``rope_scaling`` counts, as in transformers.
    """
    name = "rope_scaling" if values.config.get("rope_scaling") else "rope_parameters"
    given = values.config.get(name) or {}
    if not isinstance(given, Mapping):
        raise DataError(f"config.json: {name} must be an object.")
    if any(isinstance(value, Mapping) for value in given.values()):
        raise DataError(f"config.json: {name} of some layers alone is not supported.")
    own = Values(given)
    base = own.number("rope_theta", values.number("rope_theta", 10_000.0))
    own.refuse("partial_rotary_factor", 1, 1.0)
    values.refuse("partial_rotary_factor", 1, 1.0)
    kind = str(given.get("rope_type", given.get("type", "default")))
    if kind == "default":
        return dict(rope_base=base)
    if kind not in ROPES:
        raise DataError(
            f"config.json: the RoPE scaling {kind!r:.80} is not supported. Known: "
            f"default, {', '.join(ROPES)}."
        )
    longest = values.integer("max_position_embeddings", 2048)
    scaling: dict[str, Any] = {"rope_type": kind}
    for name in ROPES[kind][1:]:
        is_length = name == "original_max_position_embeddings"
        number = own.number(name, float(longest) if is_length else None)
        scaling[name] = int(number) if is_length else number
    return dict(rope_base=base, rope_scaling=scaling)
