"""BERT, DistilBERT and RoBERTa: encoders with norms behind their sublayers.

Heads: that of masked tokens (a transform, the table of tokens, a bias), of classes of a
text, and of classes of tokens. A model without a head gives vectors of texts.
"""

from collections.abc import Mapping
from typing import Any

from slimjax.data.labels import Labels
from slimjax.errors import ConfigError, DataError
from slimjax.interop.families.answers import read_classes
from slimjax.interop.families.bert_names import (
    BERT,
    DISTILBERT,
    HEADS,
    OF_DISTILBERT,
    Names,
)
from slimjax.interop.families.described import (
    Described,
    base_of,
    kind_of,
    list_layers,
    make_layers,
    their_activation,
)
from slimjax.interop.families.links import KERNEL, Link, dense, norm, table, vector
from slimjax.interop.families.values import Values, dropout_of
from slimjax.models.config import ModelConfig
from slimjax.models.paths import layer_name

PREFIX = {"bert": "bert.", "distilbert": "distilbert.", "roberta": "roberta."}
HEAD_NAMES = ("cls.", "lm_head.", "classifier", "vocab_", "pre_classifier")
CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
KINDS = {
    "ForMaskedLM": "mlm",
    "ForPreTraining": "mlm",
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tagging",
    "Model": "ranking",
}
TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
    "vocab_projector.weight": "embeddings.word_embeddings.weight",
}
UNTIED = ()
LEFT_OUT = (
    r"embeddings\.(position|token_type)_ids",
    r"pooler\.dense\.(weight|bias)",
    r"cls\.seq_relationship\.(weight|bias)",
)
"""Tensors that hold no weights, or none that are kept."""

LAYERS = {"num_heads": "num_attention_heads", "mlp_dim": "intermediate_size"}


def describe(config: Mapping[str, Any]) -> Described:
    """Returns a model in our words.

    Raises:
        DataError: If it is not supported, naming the setting.
    """
    kind = config["model_type"]
    values = Values(_with_names(config))
    task = kind_of(values, KINDS, "ranking")
    values.refuse("position_embedding_type", "absolute")
    values.refuse("is_decoder", False)
    values.refuse("add_cross_attention", False)
    values.refuse("embedding_size", config.get("hidden_size"))
    values.refuse("sinusoidal_pos_embds", False)
    if task == "mlm" and not values.flag("tie_word_embeddings", True):
        raise DataError("config.json: tie_word_embeddings=False is not supported.")
    shape = _shape(values)
    activation = values.activation("hidden_act", "gelu")
    offset = values.integer("pad_token_id", 1, least=0) + 1 if kind == "roberta" else 0
    longest = values.integer("max_position_embeddings", 512) - offset
    if longest < 1:
        raise DataError("config.json: max_position_embeddings leaves no positions.")
    model: dict[str, Any] = dict(kind="encoder", style="bert", dtype="float32")
    model |= shape | dict(
        architecture=make_layers(values, shape, LAYERS),
        mlp=activation,
        norm_epsilon=values.number("layer_norm_eps", 1e-12),
        token_types=_types(values, kind),
        position_offset=offset,
        dropout=dropout_of(values, "hidden_dropout_prob"),
        embed_scale=1.0,
    )
    codecs, order = {}, ()
    if task == "mlm":
        transform = "gelu" if kind == "roberta" else activation
        model |= dict(token_transform=transform, token_bias=True)
    elif task == "ranking":
        model["pool"] = "mean"
    else:
        codecs, order = read_classes(values, task)
    if task == "classification":
        act = "relu" if kind == "distilbert" else "tanh"
        model |= dict(pool="first", pooler=True, pooler_activation=act)
    vocab_size = values.integer("vocab_size", 30522)
    return Described(task, model, longest, vocab_size, codecs, order)


def links(
    model: ModelConfig, config: Mapping[str, Any], order: tuple[int, ...] = ()
) -> list[Link]:
    """Returns which tensor is which weight.

    Args:
        model: The model.
        config: What ``config.json`` holds; its ``model_type`` is read.
        order: Classes of the file in the order of ours.
    """
    kind = config["model_type"]
    names = DISTILBERT if kind == "distilbert" else BERT
    found = _embedding(model)
    for number, layer in enumerate(model.layers):
        name, theirs = layer_name(number), f"{names['layer']}{number}"
        if layer.attention:
            for ours in ("query", "key", "value", "out"):
                path = (name, "attention", ours)
                inputs = 2 if ours == "out" else 1
                found += dense(path, f"{theirs}.{names[ours]}", inputs=inputs)
        if layer.mlp:
            for ours in ("up", "down"):
                found += dense((name, "mlp", ours), f"{theirs}.{names[ours]}")
        for ours in ("attention_norm", "mlp_norm"):
            found += norm((name, ours), f"{theirs}.{names[ours]}")
    return found + _head(model, HEADS[kind], order)


def config_of(
    model: ModelConfig,
    base: Mapping[str, Any],
    task: str,
    codecs: Mapping[str, Labels],
) -> dict[str, Any]:
    """Returns the settings of a model of ours.

    Args:
        model: The model.
        base: Settings of the one that it was made from; {} for none.
        task: What it answers.
        codecs: Its classes, by field.

    Raises:
        ConfigError: If there is no class for the task.
    """
    main, kind = model.main, base.get("model_type")
    ends = {name: end for end, name in reversed(KINDS.items())}
    if task not in ends:
        raise ConfigError(f"--format=hf: there is no class of BERT for task {task!r}.")
    if kind not in PREFIX:
        plain = "bert" if main.token_types else "distilbert"
        kind = "roberta" if main.position_offset else plain
    heads = {layer.head_dim for layer in model.layers if layer.attention}
    config = base_of(base) | {
        "architectures": [f"{CLASSES[kind]}{ends[task]}"],
        "model_type": kind,
        "vocab_size": main.num_inputs,
        "hidden_size": main.width,
        "num_hidden_layers": len(model.layers),
        **list_layers(model.layers, LAYERS),
        "hidden_act": their_activation(main.style.activation),
        "layer_norm_eps": main.epsilon,
        "max_position_embeddings": main.num_positions + main.position_offset,
    }
    if main.position_offset:
        config["pad_token_id"] = main.position_offset - 1
    if main.token_types:
        config["type_vocab_size"] = main.token_types
    if heads and heads != {main.width // config["num_attention_heads"]}:
        config["head_dim"] = max(heads)
    config |= _write_classes(codecs)
    if kind != "distilbert":
        return config
    del config["layer_norm_eps"]
    for ours, theirs in OF_DISTILBERT.items():
        if ours in config:
            config[theirs] = config.pop(ours)
    return config


def _write_classes(codecs: Mapping[str, Labels]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for labels in codecs.values():
        found["id2label"] = {str(i): name for i, name in enumerate(labels.names)}
        found["label2id"] = {name: i for i, name in enumerate(labels.names)}
        if labels.is_many:
            found["problem_type"] = "multi_label_classification"
    return found


def _embedding(model: ModelConfig) -> list[Link]:
    theirs = "embeddings."
    found = [
        table(("tokens", "embedding"), f"{theirs}word_embeddings.weight"),
        table(("positions", "table"), f"{theirs}position_embeddings.weight"),
    ]
    if model.main.token_types:
        name = f"{theirs}token_type_embeddings.weight"
        found.append(table(("types", "table"), name))
    if model.layers:
        found += norm(("embed_norm",), f"{theirs}LayerNorm")
    return found


def _head(model: ModelConfig, names: Names, order: tuple[int, ...]) -> list[Link]:
    head = model.heads[0]
    own: list[Link] = []
    if head.table == "tied":
        path = (head.module, "transform")
        own.append(Link((*path, "kernel"), f"{names['transform']}.weight", KERNEL))
        own.append(vector((*path, "bias"), f"{names['transform']}.bias"))
        own += norm((*path, "norm"), names["transform_norm"])
        own.append(vector((head.module, "bias"), names["token_bias"]))
    elif head.table == "own":
        if head.pooler:
            path = (head.module, "pooler")
            own.append(Link((*path, "kernel"), f"{names['pooler']}.weight", KERNEL))
            own.append(vector((*path, "bias"), f"{names['pooler']}.bias"))
        # RoBERTa's head of tokens has no layer before it, and a plain name.
        theirs = names["table"] if head.pooler else "classifier"
        own.append(table((head.module, "table"), f"{theirs}.weight", order))
        bias = Link((head.module, "bias"), f"{theirs}.bias", order=order)
        own.append(bias)
    return own


def _with_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings under BERT's names."""
    if config["model_type"] != "distilbert":
        return dict(config)
    renamed = {ours: config.get(name) for ours, name in OF_DISTILBERT.items()}
    return {**config, **renamed}


def _shape(values: Values) -> dict[str, int]:
    width = values.integer("hidden_size", 768)
    heads = values.integer("num_attention_heads", 12)
    head_dim = values.integer("head_dim", max(width // heads, 1))
    return dict(
        width=width,
        num_layers=values.integer(
            "num_hidden_layers", 6 if "dim" in values.config else 12
        ),
        num_heads=heads,
        head_dim=head_dim,
        mlp_dim=values.integer("intermediate_size", 3072),
    )


def _types(values: Values, kind: str) -> int:
    if kind == "distilbert":
        return 0
    return values.integer("type_vocab_size", 2, least=0)
