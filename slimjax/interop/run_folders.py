"""The run folder of an imported model, for all commands that take a finished run.

config.json  architecture.json  weights.safetensors  report.json  tokenizer/
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from slimjax.data.codecs import fingerprints, save_codecs
from slimjax.errors import ConfigError
from slimjax.interop.importing import Imported
from slimjax.paths import printable
from slimjax.store.files import write_json
from slimjax.store.run_folder import IMPORTED, RunFolder
from slimjax.store.weights import StoredModel
from slimjax.trees import flatten
from slimjax.version import VERSION


def write_run_folder(imported: Imported, output: Path, format: str) -> dict[str, Any]:
    """Writes an imported model as a run folder, whole or not at all.

    Weights are read and written one at a time.

    Args:
        imported: The model.
        output: The folder; it must be new or empty.
        format: Name of the format that it came in.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: If there is something in the folder.
        DataError: If a tensor cannot be read, or holds a number that is not finite.
    """
    with new_folder(output) as made:
        folder = RunFolder(made)
        folder.tokenizer.mkdir()
        save_codecs(imported.codecs, folder.tokenizer)
        write_json(folder.config, imported.run.as_dict())
        write_json(folder.architecture, imported.model.architecture())
        digest, num_bytes = _write_weights(imported, folder)
        report = make_report(imported, format, digest, num_bytes)
        write_json(folder.report, report)
    return report


@contextlib.contextmanager
def new_folder(output: Path, name: str = "--output") -> Iterator[Path]:
    """Yields a folder that takes the place of `output` if nothing goes wrong.

    Args:
        output: The folder; it must be new or empty.
        name: The flag, for messages.

    Raises:
        ConfigError: If there is something in its place.
    """
    check_new(output, name)
    parent = output.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=parent, prefix=f".{output.name}."))
    try:
        yield made
        os.chmod(made, 0o755)
        if output.is_dir():
            output.rmdir()
        os.replace(made, output)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def check_new(output: Path, name: str = "--output") -> None:
    """Raises `ConfigError` if a folder holds something, or can be none."""
    is_free = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if output.is_symlink() or not is_free:
        raise ConfigError(
            f"{name}={printable(output)} is not empty. Name a new folder."
        )
    parent = next(p for p in output.absolute().parents if p.exists())
    if not parent.is_dir():
        raise ConfigError(
            f"{name}={printable(output)}: {printable(parent)} is a file. Name a new "
            "folder."
        )


def _write_weights(imported: Imported, folder: RunFolder) -> tuple[str, int]:
    """Writes the weights; returns their digest and the length of the file."""
    abstract = nn.meta.unbox(imported.model.abstract_variables())
    shapes = {".".join(p): leaf.shape for p, leaf in flatten(dict(abstract)).items()}
    readers = {".".join(("params", *path)): read for path, read in imported.weights()}

    def read(name: str) -> np.ndarray:
        if name in readers:
            return readers[name]()
        return np.ones(shapes[name], np.float32)  # A gate.

    return StoredModel.write_parts(folder.weights, imported.model, shapes, read)


def make_report(
    imported: Imported, format: str, digest: str, num_bytes: int
) -> dict[str, Any]:
    """Returns the content of ``report.json``."""
    source, config = imported.foreign.source, imported.foreign.config
    shapes = imported.plan.shapes.values()
    num_params = int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))
    described: dict[str, Any] = {
        "format": format,
        "model_type": config.get("model_type"),
        "architectures": config.get("architectures"),
        "weights_digest": digest,
        "notes": list(imported.notes),
    }
    if source is not None:
        described |= {"path": source.path, "sha256": source.sha256}
        described |= {"bytes": source.num_bytes}
    return {
        "task": imported.run.task,
        IMPORTED: described,
        "size": {
            "params": num_params,
            "params_start": num_params,
            "bytes": num_bytes,
            "bytes_start": num_bytes,
            "weights_file_bytes": num_bytes,
        },
        "train": {"steps": 0, "finished": True},
        "data": {"codecs": fingerprints(imported.codecs)},
        "versions": {"slimjax": VERSION},
    }


def read_report(folder: RunFolder) -> dict[str, Any]:
    """Returns what ``report.json`` holds; {} if there is none."""
    if not folder.report.is_file():
        return {}
    return json.loads(folder.report.read_text(encoding="utf-8"))
