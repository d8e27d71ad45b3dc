"""Rooms whose files are loaded when a name of them is first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exports(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns a room's ``__getattr__``, which loads public names from their files.

    Args:
        room: Full name of the package, its ``__name__``.
        homes: The file, without its ending, in which each public name lives.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{room}.{homes[name]}"), name)

    return load
