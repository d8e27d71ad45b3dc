"""Reads the small JSON files that a model keeps of its data."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from slimjax.errors import DataError
from slimjax.text.files import show

T = TypeVar("T")


def load_stored(
    folder: str | os.PathLike[str], name: str, make: Callable[[Any], T]
) -> T:
    """Returns what `make` makes of the content of a JSON file in a folder.

    Raises:
        DataError: If there is no such file, or a damaged one: no JSON, or content of
            which `make` raises ValueError, TypeError or KeyError.
    """
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return make(json.load(file))
    except FileNotFoundError:
        raise DataError(f"{show(os.fspath(folder))} holds no {name}.") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{show(path)} is damaged: {show(str(error))}.") from None
