"""T5: encoder-decoders with relative positions, whose scores are not scaled.

Published models have one table of distances for all layers of a tower; ours have a copy
in each layer, so that heads can be cut layer by layer.
"""

from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError, DataError
from slimjax.interop.families.described import (
    Described,
    base_of,
    kind_of,
    their_activation,
)
from slimjax.interop.families.links import KERNEL, Link, table, vector
from slimjax.interop.families.values import ACTIVATIONS, Values, dropout_of
from slimjax.models.config import ModelConfig
from slimjax.models.paths import layer_name
from slimjax.models.tower_config import TowerConfig

PREFIX = {"t5": ""}
HEAD_NAMES = ()
KINDS = {"ForConditionalGeneration": "seq2seq"}
TIED = {
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "lm_head.weight": "shared.weight",
}
UNTIED = ("lm_head.weight",)
LEFT_OUT = (
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
)
"""A table that old files hold, and that nothing reads."""

ATTENTION = (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o"))
TABLE = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def describe(config: Mapping[str, Any]) -> Described:
    """Returns a model in our words.

    Raises:
        DataError: If it is not supported, naming the setting.
    """
    values = Values(config)
    task = kind_of(values, KINDS, "seq2seq")
    values.refuse("is_decoder", False)
    values.refuse("per_layer_config", {}, [])
    width = values.integer("d_model", 512)
    heads = values.integer("num_heads", 8)
    layers = values.integer("num_layers", 6)
    tied = values.flag("tie_word_embeddings", True)
    is_scaled = values.flag("scale_decoder_outputs", tied)
    model: dict[str, Any] = dict(
        kind="encoder_decoder",
        style="t5",
        dtype="float32",
        width=width,
        encoder_layers=layers,
        num_layers=values.integer("num_decoder_layers", layers),
        num_heads=heads,
        head_dim=values.integer("d_kv", 64),
        mlp_dim=values.integer("d_ff", 2048),
        mlp=_mlp(values),
        tied=True,
        norm_epsilon=values.number("layer_norm_epsilon", 1e-6),
        relative_buckets=values.integer("relative_attention_num_buckets", 32, least=4),
        relative_distance=values.integer(
            "relative_attention_max_distance", 128, least=4
        ),
        attention_scale=1.0,
        embed_scale=1.0,
        token_scale=width**-0.5 if is_scaled else 1.0,
        dropout=dropout_of(values, "dropout_rate"),
    )
    return Described(task, model, 512, values.integer("vocab_size", 32128))


def links(
    model: ModelConfig, config: Mapping[str, Any], order: tuple[int, ...] = ()
) -> list[Link]:
    """Returns which tensor is which weight.

    Args:
        model: The model.
        config: What ``config.json`` holds; whether it ties the tables is read.
        order: Not used: these models have no classes.
    """
    del order
    found = [table(("tokens", "embedding"), "shared.weight")]
    for tower in model.towers:
        found += _tower(tower)
    if model.heads[0].table == "own":
        found.append(table((model.heads[0].module, "table"), "lm_head.weight"))
    elif config.get("tie_word_embeddings") is False:  # Two that are the same.
        found.append(table(("tokens", "embedding"), "lm_head.weight"))
    return found


def config_of(
    model: ModelConfig, base: Mapping[str, Any], task: str, codecs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the settings of a model of ours, whose layers are all alike.

    Args:
        model: The model.
        base: Settings of the one that it was made from; {} for none.
        task: Not used: it is always the next token.
        codecs: Not used: these models have no classes.

    Raises:
        ConfigError: If layers differ.
    """
    del task, codecs
    main, encoder = model.main, model.by_name["encoder"]
    shapes = {
        (layer.num_heads, layer.head_dim, layer.mlp_dim)
        for tower in model.towers
        for layer in tower.layers
    }
    shapes |= {
        (layer.cross_heads, layer.head_dim, layer.mlp_dim) for layer in main.layers
    }
    if len(shapes) != 1:
        raise ConfigError(
            "--format=hf: the layers of this T5 differ, and its config has one shape. "
            "Take --format=hf-padded."
        )
    heads, head_dim, mlp_dim = shapes.pop()
    buckets, distance = main.buckets
    scaled = model.heads[0].scale != 1.0
    act, gated = main.style.activation, main.style.is_gated
    plain = "gelu" if gated and act == "gelu_tanh" else their_activation(act)
    return base_of(base) | {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": main.num_inputs,
        "d_model": main.width,
        "num_layers": len(encoder.layers),
        "num_decoder_layers": len(main.layers),
        "num_heads": heads,
        "d_kv": head_dim,
        "d_ff": mlp_dim,
        "feed_forward_proj": f"gated-{plain}" if gated else plain,
        "layer_norm_epsilon": main.epsilon,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": distance,
        "tie_word_embeddings": scaled,
        "scale_decoder_outputs": scaled,
    }


def _tower(tower: TowerConfig) -> list[Link]:
    inside = (tower.name,) if tower.name else ()
    theirs = "encoder" if tower.name else "decoder"
    found: list[Link] = []
    for number, layer in enumerate(tower.layers):
        path, block = (*inside, layer_name(number)), f"{theirs}.block.{number}.layer"
        if layer.attention:
            own = (*path, "attention")
            found += _attention(own, f"{block}.0", "SelfAttention")
            distances = (*own, "relative", "table")
            found.append(table(distances, f"{theirs}.{TABLE}"))
        if layer.cross:
            found += _attention((*path, "cross"), f"{block}.1", "EncDecAttention")
        if layer.mlp:
            last = f"{block}.{1 if tower.memory is None else 2}"
            own = (*path, "mlp")
            found.append(vector((*own, "norm", "scale"), f"{last}.layer_norm.weight"))
            gated = (("gate", "wi_0"), ("up", "wi_1"), ("down", "wo"))
            plain = (("up", "wi"), ("down", "wo"))
            for ours, name in gated if tower.style.is_gated else plain:
                name = f"{last}.DenseReluDense.{name}.weight"
                found.append(Link((*own, ours), name, KERNEL))
    norm = (*inside, "norm", "scale")
    return [*found, vector(norm, f"{theirs}.final_layer_norm.weight")]


def _attention(path: tuple[str, ...], block: str, name: str) -> list[Link]:
    found = [vector((*path, "norm", "scale"), f"{block}.layer_norm.weight")]
    for ours, letter in ATTENTION:
        inputs = 2 if ours == "out" else 1
        theirs = f"{block}.{name}.{letter}.weight"
        found.append(Link((*path, ours), theirs, KERNEL, inputs))
    return found


def _mlp(values: Values) -> str:
    """Returns our name of an MLP such as ``gated-gelu``."""
    given = values.text("feed_forward_proj", "relu")
    kind = given.removeprefix("gated-")
    kind = "gelu_new" if given == "gated-gelu" else kind
    if kind not in ACTIVATIONS:
        raise DataError(
            f"config.json: feed_forward_proj={given!r:.80} is not supported. Known: "
            f"{', '.join(ACTIVATIONS)}, each with or without 'gated-' before it."
        )
    gated = "gated_" if given.startswith("gated-") else ""
    return f"{gated}{ACTIVATIONS[kind]}"
