"""Files that are whole or not there, and JSON that is strict."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from slimjax.errors import CheckpointError


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a kill at any time leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically; numbers that are not finite become null."""
    text = json.dumps(finite(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomic(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; is this a run folder?") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def finite(value: Any) -> Any:
    """Returns plain data with None in place of nan and infinities.

    Examples:
        >>> finite({"a": [1.0, float("nan")]})
        {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
