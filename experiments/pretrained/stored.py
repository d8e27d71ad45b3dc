"""Rows and statistics of a study, in files of its workdir."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.compress.moments import Moments
from slimjax.compress.rows import Rows, Text
from slimjax.store.files import replacing

KINDS = ("inputs", "means", "slopes")
"""What moments have, by path."""


def thin(text: Text, num_rows: int) -> Text:
    """Returns a text with at most so many rows."""
    rows = text.rows.at(text.rows.spread(num_rows))
    return Text(rows, text.num_bytes * rows.num_targets / text.rows.num_targets)


def join(parts: list[Rows]) -> Rows:
    """Returns the rows of several texts."""
    inputs = {
        name: np.concatenate([part.inputs[name] for part in parts])
        for name in parts[0].inputs
    }
    targets = np.concatenate([part.targets for part in parts])
    return Rows(inputs, targets, np.concatenate([part.weights for part in parts]))


def save_texts(path: Path, texts: Mapping[str, Text]) -> None:
    """Writes rows of language models as one ``.npz`` file."""
    arrays = {}
    for name, (rows, num_bytes) in texts.items():
        arrays |= {f"{name}/tokens": rows.inputs["tokens"]}
        arrays |= {f"{name}/targets": rows.targets, f"{name}/weights": rows.weights}
        arrays |= {f"{name}/bytes": np.array(num_bytes)}
    _save(path, arrays, np.savez_compressed)


def read_texts(path: Path) -> dict[str, Text]:
    """Returns rows that were saved."""
    with np.load(path) as arrays:
        names = {key.rpartition("/")[0] for key in arrays.files}
        part = lambda name, kind: arrays[f"{name}/{kind}"]
        rows = lambda name: Rows(
            {"tokens": part(name, "tokens")},
            part(name, "targets"),
            part(name, "weights"),
        )
        return {n: Text(rows(n), float(part(n, "bytes"))) for n in names}


def save_moments(path: Path, moments: Moments) -> None:
    """Writes moments as one ``.npz`` file."""
    arrays = {
        f"{kind}/{'.'.join(name)}": value
        for kind in KINDS
        for name, value in getattr(moments, kind).items()
    }
    counts = np.array([moments.num_targets])
    _save(path, arrays | {"counts": counts})


def read_moments(path: Path) -> Moments:
    """Returns moments that were saved."""
    moments = Moments()
    with np.load(path) as arrays:
        moments.num_targets = float(arrays["counts"][-1])
        for key in arrays.files:
            kind, _, name = key.partition("/")
            if kind in KINDS:
                getattr(moments, kind)[tuple(name.split("."))] = arrays[key]
    return moments


def _save(path: Path, arrays: Mapping[str, Any], write: Any = np.savez) -> None:
    with replacing(path) as file:
        write(file, **arrays)
