"""The one way from a config file into the library.

A config is data: blocks of plain values. A ``.py`` file is code, run to get that data;
a ``.json`` file is read as it is. Overrides are ``a.b=value`` with JSON values, bare
words being strings. `build` makes a room's frozen dataclass from its block.
"""

import functools
import inspect
import json
import logging
import math
import os
import runpy
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slimjax.errors import ConfigError, suggest
from slimjax.paths import printable
from slimjax.recipes import SUFFIXES, find_config

T = TypeVar("T")

MAX_INT = 2**31 - 1  # Sizes and numbers of steps are int32 on the devices.

MAX_BYTES = 1 << 24
"""Largest config file that is read."""


class _NoFunctionError(Exception):
    """A config file does not define ``get_config``."""


def read_config(path: str | Path) -> dict[str, Any]:
    """Returns the blocks of a config file, ``.py`` (with ``get_config``) or ``.json``.

    Args:
        path: The file, or the name of a recipe (`slimjax.recipes`).

    Raises:
        ConfigError: If there is no such file, or it has no config.
    """
    path = find_config(path)
    where = f"--config={printable(path)}"
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{where} must end in .py or .json.")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{where} is far too large for a config.")
    try:
        if path.suffix == ".py":
            defined = runpy.run_path(str(path))
            if "get_config" not in defined:
                raise _NoFunctionError
            config = to_plain(defined["get_config"]())
            json.dumps(config)
        else:
            config = json.loads(path.read_text(encoding="utf-8-sig"))
    except _NoFunctionError:
        raise ConfigError(f"{where} defines no get_config().") from None
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        message = " ".join(str(error).split())
        raise ConfigError(f"{where} fails: {kind}: {message}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{where} gives {config!r:.40}, which is not a config.")
    return config


def to_plain(value: Any) -> Any:
    """Returns a config as plain data: dicts, lists, numbers and strings.

    Numbers and arrays of NumPy become those of Python, paths become strings, and a
    ``ConfigDict`` becomes a dict; whatever else there is stays as it is.

    Examples:
        >>> import numpy as np
        >>> to_plain({"seed": np.int64(1), "bits": np.array([8]), "teacher": Path("a")})
        {'seed': 1, 'bits': [8], 'teacher': 'a'}
    """
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [to_plain(item) for item in value]
    return value


def override(
    config: Mapping[str, Any], changes: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Returns a config with ``("a.b", "value")`` changes made.

    Names are checked later, by `build`.

    Examples:
        >>> override({"seed": 0}, [("seed", "3"), ("data.source", "text:a/*.txt")])
        {'seed': 3, 'data': {'source': 'text:a/*.txt'}}
    """
    changed: dict[str, Any] = to_plain(config)
    for name, text in changes:
        *blocks, key = name.split(".")
        block = changed
        for part in blocks:
            block = block.setdefault(part, {})
            if not isinstance(block, dict):
                raise ConfigError(f"config.{name}: config.{part} is not a block.")
        block[key] = parse_value(text)
    return changed


def parse_value(text: str) -> Any:
    """Returns the JSON value that a text is, or the text itself.

    Examples:
        >>> parse_value("2e-3"), parse_value("true"), parse_value("40%")
        (0.002, True, '40%')
    """
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def build(cls: type[T], block: Mapping[str, Any], where: str) -> T:
    """Makes the dataclass `cls` from a block of plain values, such as ``config.data``.

    Former names of settings, which ``cls.RENAMED`` maps to those of today, are accepted
    with a hint.

    Raises:
        ConfigError: If the block, found at the path `where`, has an unknown name or a
            value of another type, or one that is not finite.
    """
    if not isinstance(block, Mapping):
        raise ConfigError(f"{where}={block!r} must be a block of settings.")
    block = _rename(block, getattr(cls, "RENAMED", {}), where)
    parameters = inspect.signature(cls).parameters
    hints = typing.get_type_hints(cls)
    values = {}
    for name, value in block.items():
        if name not in parameters:
            hint = suggest(name, parameters, prefix=f"{where}.")
            raise ConfigError(f"{where}.{name}={value!r} is not a setting. {hint}")
        values[name] = _check_type(value, hints[name], f"{where}.{name}")
    return cls(**values)


def _rename(
    block: Mapping[str, Any], names: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Returns a block with the names of today."""
    renamed = dict(block)
    for old in names.keys() & block.keys():
        name = names[old]
        if name in block:
            raise ConfigError(
                f"{where}.{old} is the former name of {where}.{name}. Set one of them."
            )
        _hint(f"{where}.{old} is now called {where}.{name}.")
        renamed[name] = renamed.pop(old)
    return renamed


@functools.cache
def _hint(text: str) -> None:
    """Logs a line, once in a process."""
    logging.getLogger("slimjax").warning(text)


def _check_type(value: Any, expected: Any, where: str) -> Any:
    """Returns the value, integers made floats where those are expected."""
    if typing.get_origin(expected) is tuple:
        return _check_tuple(value, typing.get_args(expected)[0], where)
    union = isinstance(expected, types.UnionType)
    kinds = typing.get_args(expected) if union else (expected,)
    for kind in kinds:
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            return _check_tuple(value, typing.get_args(kind)[0], where)
    if type(value) is int and int in kinds and abs(value) > MAX_INT:
        raise ConfigError(f"{where}={value} must be in [-{MAX_INT}, {MAX_INT}].")
    if type(value) in kinds and not _is_wild(value):
        return value
    if float in kinds and type(value) is int:
        return float(value)
    if int in kinds and type(value) is float and value.is_integer():
        return int(value)
    names = " or ".join(
        {
            int: "an integer",
            float: "a finite number",
            str: "a string",
            bool: "a boolean",
            dict: "a block of settings",
        }.get(k, "a list")
        for k in kinds
    )
    raise ConfigError(f"{where}={value!r} must be {names}.")


def _check_tuple(value: Any, expected: Any, where: str) -> tuple:
    """Returns the values of a list, or the one value, as a tuple.

    Words may also come as one string, with commas between them.
    """
    if expected is str and isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(
        _check_type(v, expected, f"{where}[{i}]") for i, v in enumerate(values)
    )


def _is_wild(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def check_most(settings: Any, limits: Mapping[str, int], where: str) -> None:
    """Refuses settings above a limit, before they size anything.

    Args:
        settings: The dataclass.
        limits: The largest value of each setting, by name.
        where: The block, such as ``config.model``.

    Raises:
        ConfigError: Naming the setting and its limit.
    """
    for name, limit in limits.items():
        value = getattr(settings, name)
        if value > limit:
            raise ConfigError(f"{where}.{name}={value} must be at most {limit}.")
