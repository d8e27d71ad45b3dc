"""The first weights of a run that starts from another run's model.

The trunk, which is all but the heads, is taken over. A head is taken over where it
answers the same: the same task with the same labels, or the tokens of the tokenizer.
Otherwise it is fresh, as in a run of its own. Moments are fresh.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.data.codecs import Codecs, fingerprints
from slimjax.data.dataset import Dataset
from slimjax.errors import ConfigError
from slimjax.generate.model import Model, load
from slimjax.models.adapters import DOMAIN, is_adapter
from slimjax.models.head import HeadConfig
from slimjax.nn.axes import to_host
from slimjax.resize.shrink import fold
from slimjax.run.teaching import task_of
from slimjax.train.stage import Stage
from slimjax.train.state import init_params
from slimjax.trees import Path, axis_names, flatten, hash_tree, unflatten

PLACES = (("positions", "table"), ("positions", "sinusoids"))
"""Ends of paths of tables with a row for each position."""


def take_weights(stage: Stage, data: Dataset) -> tuple[PyTree, dict[str, Any]]:
    """Returns weights and gates to start from, and what the report tells of them.

    Args:
        stage: The first stage of the run.
        data: What the run learns from.

    Raises:
        ConfigError: If a weight of the trunk has another shape.
        CheckpointError: If the folder has no whole model.
    """
    run, model = stage.blueprint.run, stage.blueprint.model
    source, task = load(run.model.init_from), task_of(run.model.init_from)
    old = flatten(_folded_weights(source))
    fresh = to_host(init_params(model, run.seed))
    same_codecs = _meanings(source.codecs) == _meanings(data.codecs)
    same_answers = task == run.task and same_codecs
    heads = {head.module: head for head in model.heads}
    own = _fresh_heads(heads, fresh["params"], old, same_answers, model.vocab_size)
    take = lambda path, leaf: _take(path, leaf, old, run.model.init_from)
    weights = {
        path: leaf if path[0] in own else take(path, leaf)
        for path, leaf in flatten(fresh["params"]).items()
    }
    added = {path for path in weights if path not in old and path[0] not in own}
    left_out = {path[0] for path in old if path[0] in own or path not in weights}
    record = {
        "folder": run.model.init_from,
        "task": task,
        "digest": hash_tree(jax.device_get(source.params)),
        "taken": sum(path[0] not in own for path in weights) - len(added),
        "fresh": sorted(own & {path[0] for path in weights})
        + ["adapters"] * any(added),
        "left_out": sorted(left_out),
    }
    return {"params": unflatten(weights), "gates": fresh["gates"]}, record


def describe_start(record: Mapping[str, Any]) -> str:
    """Returns what was taken over, in one line."""
    fresh = ", ".join(record["fresh"]) or "nothing"
    left = ", ".join(record["left_out"]) or "nothing"
    return (
        f"Starting from {record['folder']} (task {record['task']}, digest "
        f"{record['digest'][:8]}): {record['taken']} arrays are taken over; fresh: "
        f"{fresh}; left out: {left}."
    )


def _meanings(codecs: Codecs) -> dict[str, str]:
    """Returns what numbers mean, as fingerprints; domains answer nothing."""
    return {n: own for n, own in fingerprints(codecs).items() if n != DOMAIN}


def _folded_weights(source: Model) -> PyTree:
    """Returns a model's weights as they are with all gates open."""
    names = axis_names(source.config.abstract_variables())["params"]
    params = jax.device_get(source.params)
    return fold(params["params"], names, flatten(params["gates"]))


def _fresh_heads(
    heads: Mapping[str, HeadConfig],
    fresh: PyTree,
    old: Mapping[Path, np.ndarray],
    same_answers: bool,
    num_tokens: int,
) -> set[str]:
    """Returns the names of heads that nothing of the folder fits."""
    shapes = {path: leaf.shape for path, leaf in flatten(fresh).items()}
    found = {path: leaf.shape for path, leaf in old.items()}

    def fits(head: HeadConfig) -> bool:
        of_tokens = head.at == "each" and head.answers == num_tokens
        own = {path: s for path, s in shapes.items() if path[0] == head.module}
        theirs = {path: s for path, s in found.items() if path[0] == head.module}
        return (same_answers or of_tokens) and own == theirs

    return {name for name, head in heads.items() if not fits(head)}


def _take(
    path: Path, fresh: np.ndarray, old: Mapping[Path, np.ndarray], folder: str
) -> np.ndarray:
    """Returns a weight of the folder; of a table of positions, those that are read.

    Adapters that the folder lacks start as all adapters do.
    """
    weight = old.get(path)
    if weight is None and any(map(is_adapter, path)):
        return fresh
    if weight is not None and path[-2:] in PLACES:
        weight = weight[: len(fresh)]
    if weight is None or weight.shape != fresh.shape:
        has = "no such weight" if weight is None else f"the shape {list(weight.shape)}"
        raise ConfigError(
            f"config.model.init_from={folder!r}: {'.'.join(path)} of this run has the "
            f"shape {list(fresh.shape)}, and that model has {has}."
        )
    return weight
