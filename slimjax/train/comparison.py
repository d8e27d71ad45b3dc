"""Which settings two configs of one run must share, and which may change on the way."""

from collections.abc import Mapping
from typing import Any

from slimjax.data.config import PLACES, is_tokenizer_file
from slimjax.distill.config import START, TOGETHER

MAY_CHANGE = ("mesh", "train.eval_every_steps", "train.save_every_steps")
MAY_CHANGE += ("train.log_every_steps", "train.eval_rows", "train.keep_")
MAY_CHANGE += ("train.profile_steps", "distill.cache_limit_mb", "decode.")


def flatten_blocks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all settings by dotted names.

    Args:
        config: Blocks of plain values.
    """
    flat = {}
    for block, values in config.items():
        if isinstance(values, Mapping):
            flat |= {f"{block}.{key}": value for key, value in values.items()}
        else:
            flat[block] = values
    return flat


def without_free_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted settings, without those that may change on the way.

    Args:
        config: Blocks of plain values.
    """
    flat, free = flatten_blocks(config), MAY_CHANGE
    if flat.get("train.patience"):  # Then evaluations decide when the run ends.
        free = tuple(name for name in free if not name.startswith("train.eval_"))
    return {k: v for k, v in flat.items() if not k.startswith(free)}


def without_places(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted settings without places: what is there has a digest to compare."""
    kept = {k: v for k, v in flat.items() if k not in [f"data.{p}" for p in PLACES]}
    if is_tokenizer_file(kept["data.tokenizer"]):
        kept["data.tokenizer"] = "a file"
    if kept["objective.latency_table"]:
        kept["objective.latency_table"] = "a file"
    if kept["distill.teacher"] not in (None, "", START, TOGETHER):
        kept["distill.teacher"] = "a folder"
    if kept["model.init_from"]:
        kept["model.init_from"] = "a folder"
    if kept["train.continue_from"]:
        kept["train.continue_from"] = "a folder"
    return kept
