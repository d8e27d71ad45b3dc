"""What the ``config.json`` of a pretrained model says of it, in our words."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from slimjax.data.labels import Labels
from slimjax.errors import ConfigError, DataError
from slimjax.interop.families.values import ACTIVATIONS, Values
from slimjax.models.layer_config import LayerConfig


@dataclasses.dataclass(frozen=True)
class Described:
    """A pretrained model in our words.

    Attributes:
        task: The task that it was made for.
        model: Its block ``config.model``; shapes of layers are in ``architecture``.
        seq_len: Tokens of a row.
        vocab_size: Rows of its table of tokens, V.
        codecs: What its answers mean, by field.
        order: Classes of the file in the order of ours; empty for the same order.
        notes: What the user should know, one line each.
    """

    task: str
    model: dict[str, Any]
    seq_len: int
    vocab_size: int
    codecs: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    order: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


ROW = 512
"""Tokens of a row of models whose texts may be of any length."""


def kind_of(values: Values, kinds: Mapping[str, str], default: str) -> str:
    """Returns what a model is for, by the end of the name of its class.

    Args:
        values: The settings.
        kinds: From ends of names, such as ``ForCausalLM``, to tasks.
        default: The task of a file that names no class.

    Raises:
        DataError: If its class is not supported.
    """
    names = values.config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise DataError("config.json: architectures must be a list of names.")
    for name in names:
        for end, task in kinds.items():
            if name.endswith(end):
                return task
        raise DataError(
            f"config.json: the architecture {name!r:.80} is not supported. Known: "
            f"classes of {values.config.get('model_type')} that end in "
            f"{', '.join(kinds)}."
        )
    return default


def make_layers(
    values: Values, uniform: Mapping[str, int], names: Mapping[str, str]
) -> list[dict[str, Any]] | str:
    """Returns the shapes of layers that differ; an empty text where all are alike.

    Args:
        values: The settings, with ``per_layer_config`` where layers differ.
        uniform: Shape of a layer: ``num_heads``, ``num_kv_heads``, ``head_dim`` and
            ``mlp_dim``, beside ``width`` and ``num_layers``.
        names: The file's names of these, by ours.
    """
    entries = values.layers(uniform["num_layers"])
    if not any(entries):
        return ""
    return [_make_layer(entry, uniform, names) for entry in entries]


def _make_layer(
    entry: Mapping[str, Any], uniform: Mapping[str, int], names: Mapping[str, str]
) -> dict[str, Any]:
    own = Values(entry)
    unknown = set(entry) - set(names.values())
    if unknown:
        raise DataError(
            f"config.json: per_layer_config has {sorted(unknown)[0]!r:.80}, which is "
            f"not supported. Known: {', '.join(names.values())}."
        )
    shape = {
        ours: own.integer(theirs, uniform[ours], least=0)
        for ours, theirs in names.items()
    }
    heads = shape.get("num_heads", uniform["num_heads"])
    groups = shape.get("num_kv_heads", heads)
    has_attention, has_mlp = bool(heads), bool(shape["mlp_dim"])
    return {
        "width": uniform["width"],
        "num_heads": heads,
        "num_kv_heads": groups if has_attention else 0,
        "head_dim": uniform["head_dim"],
        "mlp_dim": shape["mlp_dim"],
        "attention": has_attention,
        "mlp": has_mlp,
    }


def list_layers(
    layers: Sequence[LayerConfig], names: Mapping[str, str]
) -> dict[str, Any]:
    """Returns settings of the layers of a model, with ``per_layer_config`` if needed.

    Args:
        layers: The layers; those that lost a sublayer have 0 of its units.
        names: The file's names of ``num_heads``, ``mlp_dim`` and so on, by ours.
    """
    entries = [_list_layer(layer, names) for layer in layers]
    whole = [e for e, layer in zip(entries, layers, strict=True) if layer.attention]
    usual = dict(whole[0] if whole else dict.fromkeys(names.values(), 1))
    last = names["mlp_dim"]
    usual[last] = max((entry[last] for entry in entries), default=1) or 1
    own = {str(number): entry for number, entry in enumerate(entries) if entry != usual}
    return {**usual, **({"per_layer_config": own} if own else {})}


def _list_layer(layer: LayerConfig, names: Mapping[str, str]) -> dict[str, int]:
    counts = dict(num_heads=layer.num_heads, num_kv_heads=layer.num_kv_heads)
    counts = {name: number * layer.attention for name, number in counts.items()}
    counts["mlp_dim"] = layer.mlp_dim * layer.mlp
    return {theirs: counts[ours] for ours, theirs in names.items()}


def base_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what may stay of the settings of the model that one was made from."""
    dropped = ("per_layer_config", "layer_types", "dtype", "torch_dtype", "head_dim")
    dropped += ("rope_scaling", "rope_theta", "rope_parameters", "quantization_config")
    dropped += ("problem_type", "num_labels", "id2label", "label2id")
    return {name: value for name, value in config.items() if name not in dropped}


def their_activation(name: str) -> str:
    """Returns another software's name of an activation of ours.

    Raises:
        ConfigError: If it has none.
    """
    for theirs, ours in ACTIVATIONS.items():
        if ours == name:
            return theirs
    raise ConfigError(
        f"--format=hf: the activation {name!r} is not one that transformers has."
    )
