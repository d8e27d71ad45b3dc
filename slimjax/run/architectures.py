"""Files that describe a model, replaced by what they hold when a run begins.

A run that has begun takes them from its own config, so that the files may be changed or
gone by then.
"""

import dataclasses
from typing import Any

from slimjax.models.architecture import read_architecture
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig

BLOCKS = ("model", "distill")
"""Blocks of a config whose ``architecture`` may name a file."""


def settle_architectures(run: RunConfig, folder: RunFolder) -> RunConfig:
    """Returns a run whose config holds the architectures that it names.

    Args:
        run: The config.
        folder: The run's own folder; a run that has begun there keeps what it has.

    Raises:
        ConfigError: If a file is missing or is not JSON.
    """
    config = read_json(folder.config, dict) if folder.holds_run else {}
    blocks: dict[str, Any] = {}
    for name in BLOCKS:
        block = getattr(run, name)
        if block.architecture and isinstance(block.architecture, str):
            entries = config.get(name, {}).get("architecture") or read_architecture(
                block.architecture, f"config.{name}.architecture"
            )
            blocks[name] = dataclasses.replace(block, architecture=entries)
    return dataclasses.replace(run, **blocks)
