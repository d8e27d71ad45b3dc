"""A model of ours in the Hugging Face form, for every export.

Gates and the scale of the embedding, which other software does not have, are folded
into weights. That what is written is the same model is not assumed: its settings are
read again, and must give the shape that they were made of.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import PyTree

from slimjax.data.codecs import special_of
from slimjax.data.json_tokenizer import JSON_FILE, JsonTokenizer
from slimjax.errors import ConfigError, DataError
from slimjax.generate.model import Model, load
from slimjax.interop.families import FAMILIES, family_of
from slimjax.interop.families.links import Plan
from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.importing import VECTORS, shape_of
from slimjax.interop.sentence_files import pool_files, read_pool
from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.style import BERT, GPT2, LLAMA, T5, Style
from slimjax.models.tower_config import TowerConfig
from slimjax.resize.shrink import fold
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import DEFAULT_TASK
from slimjax.trees import Path, axis_names, flatten, unflatten

Read = Callable[[Path], np.ndarray]
"""Returns a weight, float32."""

CONFIG = "config.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Weighed:
    """A model of ours, whose weights are read one at a time.

    Attributes:
        model: Its shape.
        read: Returns a weight.
        task: What it answers.
        codecs: What its numbers mean.
        seq_len: Tokens of a row that it was trained on; 0 where that is not known.
    """

    model: ModelConfig
    read: Read
    task: str
    codecs: Mapping[str, Any]
    seq_len: int = 0

    @cached_property
    def shapes(self) -> dict[Path, tuple[int, ...]]:
        """The shapes of all weights."""
        abstract = nn.meta.unbox(self.model.abstract_variables())["params"]
        return {path: tuple(leaf.shape) for path, leaf in flatten(abstract).items()}


def open_weighed(workdir: str | FilePath) -> tuple[Model, Weighed]:
    """Returns the model of a run folder, and the same as other software wants it.

    Raises:
        CheckpointError: If there is no whole model in the folder.
    """
    model, folder = load(workdir), RunFolder(workdir)
    run = read_json(folder.config, dict)
    task = run.get("task", DEFAULT_TASK)
    weighed = weigh(model.config, model.params, task, model.codecs)
    seq_len = int(run.get("data", {}).get("seq_len", 0))
    return model, dataclasses.replace(weighed, seq_len=seq_len)


def weigh(model: ModelConfig, variables: PyTree, task: str, codecs: Any) -> Weighed:
    """Returns a model with its weights, gates folded in, without a scale of tokens.

    Args:
        model: Its shape.
        variables: ``{"params": weights, "gates": gates}``.
        task: What it answers.
        codecs: What its numbers mean.
    """
    leaves, gates = flatten(variables["params"]), flatten(variables["gates"])
    gates = {path: np.asarray(gate) for path, gate in gates.items()}
    is_open = all((gate == 1).all() for gate in gates.values())
    names = {} if is_open else flatten(axis_names(model.abstract_variables())["params"])

    def read(path: Path) -> np.ndarray:
        weight = np.asarray(jax.device_get(leaves[path]), np.float32)
        if not is_open:
            one = fold(unflatten({path: weight}), unflatten({path: names[path]}), gates)
            weight = np.asarray(flatten(one)[path])
        is_last = len(path) == 2 and path[0] == "norm"
        return weight * factor_of(model, path) * (grown if is_last else 1)

    towers = tuple(dataclasses.replace(t, embed_scale=1.0) for t in model.towers)
    heads, grown = _rescale(model)
    plain = dataclasses.replace(model, towers=towers, heads=heads)
    return Weighed(plain, read, task, codecs)


def _rescale(model: ModelConfig) -> tuple[tuple[HeadConfig, ...], np.float32]:
    """Returns heads with the scale of their width, and the factor of the last norm.

    T5 scales what is scored by its width, and a cut one kept the scale of the start.
    """
    (head, *others), width = model.heads, model.width
    is_known = head.scale in (1.0, width**-0.5)
    if is_known or others or head.tower or not model.main.norms_end:
        return model.heads, np.float32(1.0)
    grown = np.float32(head.scale * width**0.5)
    return (dataclasses.replace(head, scale=width**-0.5),), grown


def factor_of(model: ModelConfig, path: Path) -> np.float32:
    """Returns what a weight is multiplied by where tokens are not scaled any more.

    Tables that are read grow by that scale, and the norm before a tied table shrinks.
    """
    tower = model.by_name.get(path[0], model.main)
    if tower.reads_numbers:
        return np.float32(1.0)
    scale = np.float32(tower.embed_scale)
    if path[-1] == "embedding" or path[-2:] in (
        ("positions", "table"),
        ("types", "table"),
    ):
        return scale
    is_tied = any(head.table == "tied" for head in model.heads)
    if is_tied and path[0] == "norm" and len(path) == 2:
        return np.float32(1.0) / scale
    return np.float32(1.0)


def make_foreign(weighed: Weighed) -> Foreign:
    """Returns a model in the Hugging Face form; tensors are made when they are read.

    Raises:
        ConfigError: If no class of transformers computes what it does.
    """
    model, tokenizer = weighed.model, weighed.codecs.get("tokens")
    files: dict[str, bytes] = {}
    if isinstance(tokenizer, JsonTokenizer):
        files = {**tokenizer.files, JSON_FILE: tokenizer.to_json()}
    base = Foreign({}, {}, files).json(CONFIG)
    kind = _family(model, base)
    family = family_of({"model_type": kind})
    if not base and weighed.seq_len and FAMILIES[kind] == "llama":
        base = {"max_position_embeddings": weighed.seq_len}
    own = {name: c for name, c in weighed.codecs.items() if name in ("label", "tags")}
    config = family.config_of(model, base, weighed.task, own)
    config = _special(weighed.codecs) | config
    if config.get("is_encoder_decoder"):
        config.setdefault("decoder_start_token_id", config["bos_token_id"])
    _check_shape(config, weighed)
    plan = Plan(family.links(model, config), weighed.shapes)
    tensors = _with_prefix(plan.write(weighed.read), family, config)
    files = {n: c for n, c in files.items() if n != CONFIG}
    head = model.heads[0]
    if weighed.task == VECTORS and read_pool(Foreign(config, {}, files)) != head.at:
        files |= pool_files(head.at, model.width)
    return Foreign(config, tensors, files)


def check_reads_tokens(model: ModelConfig) -> None:
    """Raises `ConfigError` for a model that no format of other software holds."""
    if any(tower.reads_numbers for tower in model.towers):
        raise ConfigError(
            "This model reads pictures or features, which only --format=stablehlo and "
            "--format=packed can hold."
        )
    if any(tower.stem == "characters" for tower in model.towers):
        raise ConfigError(
            "This model reads the bytes of tokens, which only --format=stablehlo and "
            "--format=packed can hold."
        )
    if model.main.domains:
        raise ConfigError(
            "This model has adapters of domains, which only --format=stablehlo and "
            "--format=packed can hold."
        )


def _family(model: ModelConfig, base: Mapping[str, Any]) -> str:
    """Returns a ``model_type`` of the family that computes what a model does."""
    style = model.main.style
    alike: dict[str, Style] = {"llama": LLAMA, "gpt2": GPT2, "bert": BERT, "t5": T5}
    given = base.get("model_type")
    for name, known in alike.items():
        free = dict(mlp=style.mlp, tied=style.tied)
        if name == "llama":
            free["bias"] = style.bias
        if dataclasses.replace(known, **free) == style:
            is_given = FAMILIES.get(str(given)) == name
            return str(given) if is_given else name
    raise ConfigError(
        "--format=hf: no class of transformers computes what this model does (norm "
        f"{style.norm} at the {style.norm_at}, positions {style.positions}, bias "
        f"{style.bias}). Known: the styles {', '.join(alike)}."
    )


def _special(codecs: Mapping[str, Any]) -> dict[str, int]:
    special = special_of(codecs)
    names = {"bos": "bos_token_id", "eos": "eos_token_id", "pad": "pad_token_id"}
    return {names[role]: special[role] for role in names if role in special}


def _check_shape(config: Mapping[str, Any], weighed: Weighed) -> None:
    """Refuses settings that do not give the model they were made of."""
    try:
        tied = weighed.model.heads[0].table == "tied"
        found = shape_of(config, weighed.codecs, tied=tied)
    except DataError as error:
        raise ConfigError(f"--format=hf cannot hold this model: {error}") from None
    pairs = zip(found.towers, weighed.model.towers, strict=False)
    odd = [_difference(one, other) for one, other in pairs]
    heads = zip(found.heads, weighed.model.heads, strict=False)
    odd += [_difference(one, other) for one, other in heads]
    wrong = [name for names in odd for name in names]
    if wrong or len(found.towers) != len(weighed.model.towers):
        raise ConfigError(
            f"--format=hf: a {config['model_type']} of transformers cannot have the "
            f"{wrong[0] if wrong else 'towers'} of this model."
        )


def _difference(one: Any, other: Any) -> list[str]:
    """Returns the names of fields of two towers or heads that differ."""
    free = ["weights", "focal_gamma", "temperature", "variance"]
    if isinstance(one, TowerConfig):
        free += ["layers"]
        free += [] if one.style.positions == "learned" else ["num_positions"]
    elif one.table == "batch":
        free += ["at"]
    names = [f.name for f in dataclasses.fields(one) if f.name not in free]
    odd = [name for name in names if _plain(one, name) != _plain(other, name)]
    if isinstance(one, TowerConfig) and _shapes(one) != _shapes(other):
        odd.append("layers")
    return odd


def _plain(part: Any, name: str) -> Any:
    """Returns a field; MLPs with several names have one here."""
    value = getattr(part, name)
    if not isinstance(value, Style):
        return value
    gated = "gated_" if value.is_gated else ""
    return dataclasses.replace(value, mlp=f"{gated}{value.activation}")


def _shapes(tower: TowerConfig) -> list[tuple[int, ...]]:
    """Returns the shapes of a tower's layers, without those of removed sublayers."""
    return [
        (
            *((y.num_heads, y.num_kv_heads, y.head_dim) if y.attention else ()),
            *((y.cross_heads, y.cross_kv_heads) if y.cross else ()),
            *((-y.mlp_dim,) if y.mlp else ()),
        )
        for y in tower.layers
    ]


def _with_prefix(
    tensors: Mapping[str, Tensor], family: Any, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Returns tensors under the names that they have beside a head."""
    if str(config["architectures"][0]).endswith("Model"):
        return dict(tensors)
    prefix = family.PREFIX[config["model_type"]]
    return {
        name if name.startswith(family.HEAD_NAMES) else f"{prefix}{name}": tensor
        for name, tensor in tensors.items()
    }
