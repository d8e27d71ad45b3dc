"""Budgets of the GGUF file that a model is exported to, and that export.

Bits are those of the type of the file, so that only units are chosen. What is left is
rounded by second order as it is exported, on the calibration rows.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from slimjax.compress.errors import Error, measure_all
from slimjax.compress.moments import Report, collect_inputs, spread
from slimjax.compress.rows import Rows, Text
from slimjax.compress.walk import Place, Walk
from slimjax.errors import ConfigError, NotFeasibleError, suggest
from slimjax.generate.model import Model
from slimjax.interop.exporting import make_foreign, weigh
from slimjax.interop.gguf_blocks import BLOCK, LEVELS
from slimjax.interop.gguf_export import export_gguf, tokenizer_of
from slimjax.interop.gguf_layout import LayerShape
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_size import FileSize
from slimjax.interop.gguf_writing import TYPES
from slimjax.interop.hf_export import variables_of
from slimjax.interop.importing import understand
from slimjax.models.config import ModelConfig
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.inventory import Bits
from slimjax.objective.size import SizeFn
from slimjax.resize.config import ResizeConfig
from slimjax.trees import Path

GGUF_BYTES = "gguf_bytes"
"""The measure: bytes of the exported file."""


def make_file_size(model: Model, task: str, kind: str) -> FileSize:
    """Returns what tells the length of the file of a model with other layers.

    Args:
        model: The model.
        task: What it answers.
        kind: Type of matrices.

    Raises:
        ConfigError: If GGUF files do not hold such a model, or there is no such type.
    """
    if kind not in TYPES:
        raise ConfigError(f"--type={kind} is unknown. {suggest(kind, TYPES)}")
    foreign = make_foreign(weigh(model.config, model.params, task, model.codecs))
    return FileSize(foreign, kind, tokenizer_of(foreign, model.codecs["tokens"]))


def make_gguf_size_fn(file_size: FileSize, model: ModelConfig) -> SizeFn:
    """Returns the function from the gates of a model to the length of its file."""

    def size_fn(gates: Mapping[Path, np.ndarray], bits: Bits | None = None) -> float:
        del bits  # The type of the file has its own.
        return file_size.of(shapes_of(model, gates))

    return size_fn


def shapes_of(model: ModelConfig, gates: Mapping[Path, np.ndarray]) -> list[LayerShape]:
    """Returns the layers that gates of 0 and 1 leave of a model."""

    def count(path: Path, units: str) -> int:
        if (*path, units) not in gates:
            return 0
        is_there = float(gates.get((*path, SUBLAYER), np.ones(())))
        return round(float(np.sum(gates[*path, units])) * is_there)

    shapes = []
    for number, layer in enumerate(model.layers):
        path = Place("", number).path
        groups = count((*path, "attention"), "kv_heads")
        each = layer.num_heads // max(layer.num_kv_heads, 1)
        mlp = count((*path, "mlp"), "mlp")
        shapes.append(LayerShape(groups * each, groups, mlp))
    return shapes


def with_blocks(resize: ResizeConfig, model: ModelConfig, kind: str) -> ResizeConfig:
    """Returns limits with which the rows of all matrices are whole blocks.

    Args:
        resize: The limits that were asked for.
        model: The model.
        kind: Type of matrices.
    """
    if kind not in LEVELS:
        return resize
    group = max(
        y.num_heads // max(y.num_kv_heads, 1) * y.head_dim for y in model.layers
    )
    least = BLOCK // math.gcd(BLOCK, group)
    return dataclasses.replace(
        resize,
        multiple=math.lcm(resize.multiple, BLOCK),
        kv_heads_multiple=math.lcm(resize.kv_heads_multiple, least),
    )


def export_within(
    folder: FilePath,
    model: Model,
    task: str,
    kind: str,
    budget: float,
    rows: Rows,
    texts: Mapping[str, Text],
    report: Report,
) -> dict[str, Any]:
    """Writes the GGUF file of a compressed model into its folder.

    Args:
        folder: The run folder.
        model: The model, whose weights are not rounded yet.
        task: What it answers.
        kind: Type of matrices.
        budget: Most bytes of the file.
        rows: To calibrate the rounding on.
        texts: Held-out rows by source.
        report: Called while it goes on.

    Returns:
        Name, type and length of the file, and its errors by source.

    Raises:
        NotFeasibleError: If the file is longer than the budget.
    """
    path = folder / f"model.{kind}.gguf"
    plain = dataclasses.replace(model.config, dtype="float32")
    found = collect_inputs(Walk(plain), model.params, rows, report)
    weighed = weigh(model.config, model.params, task, model.codecs)
    made = export_gguf(
        folder, path, kind=kind, moments=spread(found), opened=(model, weighed)
    )
    if made["bytes"] > budget:
        raise NotFeasibleError(
            f"{path.name} has {made['bytes']:,} bytes, more than the budget of "
            f"{budget:,.0f}. Set a smaller one."
        )
    again = understand(read_gguf(path), path.name, model.codecs["tokens"])
    shape = dataclasses.replace(again.model, dtype="float32")
    errors = measure_all(shape, variables_of(again), texts)
    return {
        "file": path.name,
        "type": kind,
        "bytes": made["bytes"],
        "architecture": made["architecture"],
        "largest_difference": made["largest_difference"],
        "errors": _describe(errors),
    }


def _describe(errors: Mapping[str, Error]) -> list[dict[str, Any]]:
    return [{"source": name, **error.as_dict()} for name, error in errors.items()]
