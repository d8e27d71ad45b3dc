"""The arms of a sweep: a config each, with a name that a folder can have."""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slimjax.config import override, parse_value
from slimjax.errors import ConfigError, SlimjaxError
from slimjax.run.init_shape import take_shape
from slimjax.run.start import check_feasible
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.text.sources import parse_sources
from slimjax.train.config import (
    BLOCKS,
    RunConfig,
    check_same_run,
    make_run_config,
)
from slimjax.tune.grid import Axis, multiply

MAX_SEEDS = 1000
MAX_NAME = 100  # Characters; file systems take 255, with ends of names and of files.


@dataclasses.dataclass(frozen=True)
class Arm:
    """One setting of everything but the seed.

    Attributes:
        name: Readable, and a name of a folder.
        changes: Its values of the grid, by setting.
        config: Blocks of plain values.
    """

    name: str
    changes: dict[str, Any]
    config: dict[str, Any]

    def trial(self, seed: int) -> "Trial":
        """Returns the arm's run with a seed."""
        run = make_run_config(self.config | {"seed": seed})
        return Trial(f"{self.name}-seed{seed}", run)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: Its folder, below that of the sweep.
        run: Its config.
    """

    name: str
    run: RunConfig


def make_arms(config: Mapping[str, Any], axes: Iterable[Axis]) -> list[Arm]:
    """Returns an arm for every combination of the grid's values.

    Raises:
        ConfigError: If the grid is invalid; settings are checked by `check_arm`.
    """
    combinations = [
        dict(change for pair in pairs for change in _open_block(*pair))
        for pairs in multiply(axes)
    ]
    labels = _label({name for changes in combinations for name in changes})
    arms: dict[str, Arm] = {}
    for words in combinations:
        parts = [
            f"{labels[name]}={_to_file_name(word)}" for name, word in words.items()
        ]
        changes = {name: parse_value(word) for name, word in words.items()}
        arm = Arm(_shorten(parts), changes, override(dict(config), [*words.items()]))
        if arm.name in arms:
            raise ConfigError(f"--grid gives two arms that are called {arm.name}.")
        arms[arm.name] = arm
    return list(arms.values())


def list_seeds(config: Mapping[str, Any], num_seeds: int) -> tuple[int, ...]:
    """Returns ``config.seed``, and the numbers that follow.

    Raises:
        ConfigError: If there is none, or the first is not a number.
    """
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise ConfigError(f"--seeds={num_seeds} must be in [1, {MAX_SEEDS}].")
    first = config.get("seed", 0)
    if type(first) is not int:
        raise ConfigError(f"config.seed={first!r} must be an integer in [0, 2^32).")
    return tuple(range(first, first + num_seeds))


def check_arm(arm: Arm, seeds: Iterable[int], root: Path | None) -> None:
    """Refuses, before any arm runs, one that `slimjax.run.start.train` would refuse.

    Args:
        arm: The arm.
        seeds: Its seeds.
        root: The sweep's folder, whose runs must have these configs; None to look at
            none of them.

    Raises:
        SlimjaxError: Naming the arm, and what is wrong with it.
    """
    try:
        trials = [arm.trial(seed) for seed in seeds]
        folders = [RunFolder(root / t.name) if root else None for t in trials]
        pairs = zip(trials, folders, strict=True)
        runs = [take_shape(trial.run, folder) for trial, folder in pairs]
        check_feasible(runs[0])
        for source in parse_sources(runs[0].data.source):
            source.find_files(trials[0].run.data.style)
        for run, folder in zip(runs, folders, strict=True):
            if folder is None:
                continue
            folder.check_writable()
            if folder.holds_run:
                check_same_run(read_json(folder.config), run)
    except SlimjaxError as error:
        raise type(error)(f"arm {arm.name}: {error}") from error


def _open_block(name: str, word: str) -> list[tuple[str, str]]:
    """Returns a block's object as changes of single settings; others as they are.

    Examples:
        >>> _open_block("model", '{"width": 8, "num_layers": 1}')
        [('model.width', '8'), ('model.num_layers', '1')]
    """
    value = parse_value(word)
    if name not in BLOCKS or not isinstance(value, dict):
        return [(name, word)]
    return [(f"{name}.{key}", json.dumps(item)) for key, item in value.items()]


def _label(names: set[str]) -> dict[str, str]:
    """Returns the last part of each name, or the whole where two end alike."""
    last = {name: name.rpartition(".")[2] for name in names}
    counts = Counter(last.values())
    return {name: last[name] if counts[last[name]] == 1 else name for name in names}


def _to_file_name(word: str) -> str:
    """Returns a word without what file names may not have; a hash keeps words apart.

    Examples:
        >>> _to_file_name("40%"), _to_file_name('"40%"'), _to_file_name("[1,2]")
        ('40%', '40%', '1-2-49a647')
    """
    value = parse_value(word)
    text = value if isinstance(value, str) else word
    plain = re.sub(r"[^A-Za-z0-9._+%-]+", "-", text).strip("-")
    return text if plain == text else f"{plain}-{_hash(text)}"


def _shorten(parts: list[str]) -> str:
    name, keep = ",".join(parts) or "base", MAX_NAME - 7
    return name if len(name) <= MAX_NAME else f"{name[:keep]}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
