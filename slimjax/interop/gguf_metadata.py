"""The settings of a GGUF file, from a ``config.json``, and the layers it can hold."""

import dataclasses
from typing import Any

from slimjax.errors import ConfigError, DataError
from slimjax.interop.gguf_layout import SIZES, LayerShape, layer_shapes
from slimjax.interop.gguf_reading import PADDED_MLP
from slimjax.interop.gguf_rope import DEFAULT_BASE

FAMILIES = ("llama", "mistral", "qwen2")
"""Values of ``model_type`` that are written."""


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a GGUF file is to hold.

    Attributes:
        architecture: llama, qwen2 or deci.
        config: A config of the file's own layers.
        sources: For each layer of the file, which one of the model it is.
        shapes: The model's own layers.
    """

    architecture: str
    config: dict[str, Any]
    sources: list[int]
    shapes: list[LayerShape]


def plan_file(config: dict[str, Any]) -> Blueprint:
    """Returns what a file of a model holds.

    Layers that differ are written as ``deci``, whose loader knows no layer with
    attention alone, and takes the width of heads from the first layer: an MLP and a
    head of zeros stand in for them, and layers with neither sublayer are left out.

    Args:
        config: The content of ``config.json``.

    Raises:
        ConfigError: If GGUF files of this kind are not written.
        DataError: If the config tells of something that such files do not hold.
    """
    config = _checked(config)
    shapes = layer_shapes(config)
    is_whole = all(shape.heads and shape.mlp for shape in shapes)
    if shapes and is_whole and len(set(shapes)) == 1:
        own = {key: v for key, v in config.items() if key != "per_layer_config"}
        own |= dict(zip(SIZES, dataclasses.astuple(shapes[0]), strict=True))
        wide = shapes[0].heads * config["head_dim"]
        is_qwen = config["model_type"] == "qwen2" and wide == config["hidden_size"]
        name = "qwen2" if is_qwen else "llama"
        return Blueprint(name, own, list(range(len(shapes))), shapes)
    sources = [i for i, s in enumerate(shapes) if s.heads or s.mlp] or [0]
    layers = []
    for number in sources:
        shape = shapes[number] if shapes else LayerShape(0, 0, 0)
        has_head = shape.heads or number > sources[0]
        heads = (shape.heads, shape.kv_heads) if has_head else (1, 1)
        layers.append((*heads, shape.mlp or PADDED_MLP))
    own = {str(i): dict(zip(SIZES, l, strict=True)) for i, l in enumerate(layers)}
    filled = config | {"num_hidden_layers": len(layers), "per_layer_config": own}
    return Blueprint("deci", filled, sources, shapes)


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config with all that is needed, of a family that is written."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ConfigError(
            f"--format=gguf writes models of the types {', '.join(FAMILIES)}, and this "
            f"is {family!r:.40}. Use --format=hf, hf-padded or stablehlo."
        )
    heads = config.get("num_attention_heads") or 0
    usual = {
        "num_key_value_heads": heads,
        "head_dim": config["hidden_size"] // max(heads, 1),
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
    }
    given = {key: value for key, value in config.items() if value is not None}
    config = usual | given
    if config["hidden_act"] not in ("silu", "swish"):
        raise DataError(f"hidden_act={config['hidden_act']!r:.40} has no GGUF file.")
    uses_window = config.get("use_sliding_window", family == "mistral")
    window = config.get("sliding_window") or 0
    if uses_window and 0 < window < config["max_position_embeddings"]:
        raise DataError(f"sliding_window={window} has no GGUF file of this kind.")
    return config | {"rope_parameters": _rope(config)}


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Returns ``rope_parameters``, also of configs that tell them in the older way."""
    rope = {"rope_theta": config.get("rope_theta", DEFAULT_BASE)}
    rope |= config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = rope.setdefault("rope_type", rope.pop("type", "default"))
    if kind not in ("default", "linear", "llama3"):
        raise DataError(f"rope_type={kind!r:.40} is not written to GGUF files.")
    if config.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1)) != 1:
        raise DataError("partial_rotary_factor is not written to GGUF files.")
    return rope


def model_settings(plan: Blueprint) -> dict[str, Any]:
    """Returns the settings of the architecture, without its name before them."""
    config, layers = plan.config, layer_shapes(plan.config)
    heads, kv_heads, mlp = (
        [getattr(layer, name) for layer in layers]
        for name in ("heads", "kv_heads", "mlp")
    )
    pick = (
        (lambda each: each) if plan.architecture == "deci" else (lambda each: each[0])
    )
    rope, head_dim = config["rope_parameters"], config["head_dim"]
    settings = {
        "vocab_size": config["vocab_size"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": len(layers),
        "feed_forward_length": pick(mlp),
        "attention.head_count": pick(heads),
        "attention.head_count_kv": pick(kv_heads),
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.dimension_count": head_dim,
        "rope.freq_base": float(rope["rope_theta"]),
    }
    if rope["rope_type"] == "linear":
        settings["rope.scaling.type"] = "linear"
        settings["rope.scaling.factor"] = float(rope["factor"])
    if rope["rope_type"] == "llama3":
        length = int(rope["original_max_position_embeddings"])
        settings["rope.scaling.original_context_length"] = length
    return settings
