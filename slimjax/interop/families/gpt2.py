"""GPT-2: decoders with learned positions, whose kernels lie ``[in, out]``."""

from collections.abc import Mapping
from typing import Any

from slimjax.interop.families.described import (
    Described,
    base_of,
    kind_of,
    list_layers,
    make_layers,
    their_activation,
)
from slimjax.interop.families.links import CONV, Link, dense, norm, table, vector
from slimjax.interop.families.values import Values, dropout_of
from slimjax.models.config import ModelConfig
from slimjax.models.paths import layer_name

PREFIX = {"gpt2": "transformer."}
HEAD_NAMES = ("lm_head.",)
KINDS = {"LMHeadModel": "lm", "Model": "lm"}
LAYERS = {"num_heads": "n_head", "mlp_dim": "n_inner"}
TIED = {"lm_head.weight": "wte.weight"}
UNTIED = ("lm_head.weight",)
LEFT_OUT = (r"h\.\d+\.attn\.(bias|masked_bias)",)
"""Masks, which old files hold."""

FUSED = ("query", "key", "value")


def describe(config: Mapping[str, Any]) -> Described:
    """Returns a model in our words.

    Raises:
        DataError: If it is not supported, naming the setting.
    """
    values = Values(config)
    task = kind_of(values, KINDS, "lm")
    values.refuse("scale_attn_weights", True)
    values.refuse("scale_attn_by_inverse_layer_idx", False)
    values.refuse("add_cross_attention", False)
    shape = _shape(values)
    longest = values.integer("n_positions", 1024)
    model: dict[str, Any] = dict(kind="decoder", style="gpt2", dtype="float32")
    model |= shape | dict(
        architecture=make_layers(values, shape, LAYERS),
        mlp=values.activation("activation_function", "gelu_new"),
        tied=values.flag("tie_word_embeddings", True),
        norm_epsilon=values.number("layer_norm_epsilon", 1e-5),
        dropout=dropout_of(values, "resid_pdrop"),
        embed_scale=1.0,
    )
    return Described(task, model, longest, values.integer("vocab_size", 50257))


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
    found = [
        table(("tokens", "embedding"), "wte.weight"),
        table(("positions", "table"), "wpe.weight"),
    ]
    for number, layer in enumerate(model.layers):
        name, theirs = layer_name(number), f"h.{number}"
        if layer.attention:
            found += _attention((name, "attention"), theirs)
        if layer.mlp:
            path = name, "mlp"
            found += norm((*path, "norm"), f"{theirs}.ln_2")
            for ours, own in (("up", "c_fc"), ("down", "c_proj")):
                found += dense((*path, ours), f"{theirs}.mlp.{own}", CONV)
    found += norm(("norm",), "ln_f")
    if model.heads[0].table == "own":
        found.append(table((model.heads[0].module, "table"), "lm_head.weight"))
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
    main = model.main
    heads = {layer.head_dim for layer in model.layers if layer.attention}
    config = base_of(base) | {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": main.num_inputs,
        "n_embd": main.width,
        "n_layer": len(model.layers),
        **list_layers(model.layers, LAYERS),
        "n_positions": main.num_positions,
        "n_ctx": main.num_positions,
        "activation_function": their_activation(main.style.activation),
        "layer_norm_epsilon": main.epsilon,
        "tie_word_embeddings": model.heads[0].table == "tied",
    }
    if heads and heads != {main.width // config["n_head"]}:
        config["head_dim"] = max(heads)
    return config


def _attention(path: tuple[str, ...], theirs: str) -> list[Link]:
    found = norm((*path, "norm"), f"{theirs}.ln_1")
    name = f"{theirs}.attn.c_attn"
    for part, ours in enumerate(FUSED):
        found.append(Link((*path, ours), f"{name}.weight", CONV, part=part))
        found.append(vector((*path, f"{ours}_bias"), f"{name}.bias", part))
    return found + dense((*path, "out"), f"{theirs}.attn.c_proj", CONV, inputs=2)


def _shape(values: Values) -> dict[str, int]:
    width = values.integer("n_embd", 768)
    heads = values.integer("n_head", 12)
    return dict(
        width=width,
        num_layers=values.integer("n_layer", 12),
        num_heads=heads,
        head_dim=values.integer("head_dim", max(width // heads, 1)),
        mlp_dim=values.integer("n_inner", 4 * width),
    )
