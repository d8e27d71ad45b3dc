"""A run folder, finished or still running, as one frozen value.

Only `read_run` and `read_lines` touch files. What a log lacks is absent from the `Run`,
too: numbers that are NaN or infinite are read as None, and an incomplete last line is
left out. A run without ``report.json`` gets the part of it that the logs hold
(`so_far`).
"""

import dataclasses
import itertools
import json
import math
import os
from pathlib import Path
from types import UnionType
from typing import Any

from slimjax.errors import CheckpointError
from slimjax.paths import user_path
from slimjax.report.layers import describe_removed_kinds, read_layers
from slimjax.report.quantities import number
from slimjax.report.so_far import report_so_far
from slimjax.store.files import MAX_JSON_BYTES
from slimjax.store.run_folder import LOGGED

Json = dict[str, Any]

SIZES = {"params": "parameters", "flops_per_token": "FLOPs per token", "bytes": "bytes"}
"""Sizes in logs, in words."""


@dataclasses.dataclass(frozen=True)
class Run:
    """The content of one run folder.

    Attributes:
        name: Name of the folder, printable.
        config: Settings, in blocks; empty when the file is missing.
        architecture: Layers of the model as it is now.
        metrics: Logged steps, each step once, in order.
        seams: Seams in order, also those that were not taken.
        report: The blocks of ``report.json``; for a running run what is known so far.
        is_finished: Whether the run has reached its last step.
        folder: Where it lies; `slimjax.report.answers` reads what was predicted.
    """

    name: str
    config: Json
    architecture: list[Json]
    metrics: list[Json]
    seams: list[Json]
    report: Json
    is_finished: bool
    folder: Path = Path()

    @property
    def taken_seams(self) -> list[Json]:
        """The seams at which the model changed."""
        return _taken(self.seams)

    @property
    def stages(self) -> list[Json]:
        """The stretches of training between seams."""
        return _objects(self.report.get("stages"))

    @property
    def first_step(self) -> int:
        """The step at which it began: not 0 where it goes on from another run."""
        return round(number(self.stages, 0, "start_step") or 0)

    @property
    def last_step(self) -> int:
        """The last step that is known to be done."""
        logged = number(self.metrics, -1, "step")
        return round(logged or number(self.report, "train", "steps") or 0)

    @property
    def architectures(self) -> list[list[Json]]:
        """The model of every stage, or start and end where no more is known."""
        known = [read_layers(stage.get("architecture")) for stage in self.stages]
        known = [layers for layers in known if layers]
        start = known[0] if known else _starting_layers(self.config)
        if known and len(known) == len(self.stages):
            return known
        return [layers for layers in (start, self.architecture) if layers]

    @property
    def asked_measure(self) -> str:
        """The name in logs of the size that the run was to make small."""
        size, objective = self.report.get("size"), self.config.get("objective")
        for block, name in ((size, "measure"), (objective, "size")):
            measure = block.get(name) if isinstance(block, dict) else None
            if measure in LOGGED:
                return LOGGED[measure]
        return "params"

    @property
    def warnings(self) -> list[str]:
        """Sentences on kinds of layer that were removed as a whole."""
        steps = [number(seam, "step") or 0.0 for seam in self.taken_seams]
        return describe_removed_kinds(self.architectures, steps)


def read_run(folder: str | Path) -> Run:
    """Reads a run folder.

    Args:
        folder: What training was given as ``--workdir``.

    Raises:
        CheckpointError: If it is no run folder, has logged nothing yet, or a file in
            it is damaged.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder. Give the --workdir of a training run."
        )
    if not (folder / "metrics.jsonl").is_file():
        raise CheckpointError(
            f"{folder} has no metrics.jsonl, so it is not a run folder. "
            "Give the --workdir of a training run, or start one there."
        )
    metrics = _merge_by_step(read_lines(folder / "metrics.jsonl"))
    written = _read_json(folder / "report.json", dict)
    if not metrics and not written:
        raise CheckpointError(
            f"{folder} has no report.json and no complete line in metrics.jsonl. "
            "Wait for the first logged step of the run, or resume it."
        )
    config = _read_json(folder / "config.json", dict) or {}
    seams = read_lines(folder / "seams.jsonl")
    architecture = read_layers(_read_json(folder / "architecture.json", list | dict))
    so_far = report_so_far(config, metrics, _taken(seams))
    return Run(
        name=_printable(Path(os.path.abspath(folder)).name) or "run",
        config=config,
        architecture=architecture or _last_layers(written),
        metrics=metrics,
        seams=seams,
        report=_fill(written or {}, so_far),
        is_finished=written is not None and _is_finished(written),
        folder=folder,
    )


def _read_json(path: Path, kind: type | UnionType) -> Any:
    """Returns the content of a file, or None when there is no such file."""
    if not path.is_file():
        return None
    try:
        is_large = path.stat().st_size > MAX_JSON_BYTES
        content = None if is_large else _parse(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, kind):
        word = "an object" if kind is dict else "a list or an object"
        raise CheckpointError(
            f"{path} is damaged: it is not {word} in JSON. "
            "Resume the run, which writes it again, or restore the file."
        )
    return content


def read_lines(path: Path, most: int | None = None) -> list[Json]:
    """Reads one object per line; an incomplete last line is skipped.

    Args:
        path: The file; nothing is read if there is none.
        most: How many lines are read; None for all.

    Raises:
        CheckpointError: If a line is damaged.
    """
    if not path.is_file():
        return []
    with path.open("rb") as file:
        lines = [line.rstrip(b"\n") for line in itertools.islice(file, most)]
    while lines and not lines[-1].strip():
        lines.pop()
    rows = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = _parse(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif index < len(lines) - 1:
            raise CheckpointError(
                f"{path}, line {index + 1} is damaged: it is not an object in JSON. "
                "Remove the line, or resume the run from its checkpoint."
            )
    return rows


def _parse(text: bytes) -> Any:
    """Parses UTF-8 JSON; NaN and the infinities, which JSON lacks, become None."""
    return json.loads(
        text.decode("utf-8"),
        parse_constant=lambda _: None,
        parse_float=lambda digits: x if math.isfinite(x := float(digits)) else None,
    )


def _objects(items: Any) -> list[Json]:
    items = items if isinstance(items, list) else []
    return [item for item in items if isinstance(item, dict)]


def _taken(seams: list[Json]) -> list[Json]:
    return [s for s in seams if s.get("taken") and number(s, "step") is not None]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _merge_by_step(rows: list[Json]) -> list[Json]:
    """Joins rows of one step (a resumed run may log a step again), in order."""
    merged: dict[float, Json] = {}
    for row in rows:
        step = number(row, "step")
        if step is not None:
            merged[step] = merged.get(step, {}) | row
    return [merged[step] for step in sorted(merged)]


def _is_finished(report: Json) -> bool:
    train = report.get("train")
    return not (isinstance(train, dict) and train.get("finished") is False)


def _last_layers(report: Json | None) -> list[Json]:
    stages = _objects((report or {}).get("stages"))
    return read_layers(stages[-1].get("architecture")) if stages else []


def _starting_layers(config: Json) -> list[Json]:
    """Returns the uniform model that a config describes, or nothing."""
    model = config.get("model")
    depth, heads = number(model, "num_layers"), number(model, "num_heads")
    kind = model.get("kind") if isinstance(model, dict) else None
    if kind not in (None, "decoder", "encoder"):
        return []
    if depth is None or heads is None or not 0 < depth <= 10_000:
        return []
    layer = {
        "num_heads": heads,
        "num_kv_heads": number(model, "num_kv_heads") or heads,
        "head_dim": number(model, "head_dim"),
        "mlp_dim": number(model, "mlp_dim"),
        "attention": True,
        "mlp": True,
    }
    return read_layers([layer] * round(depth))


def _fill(written: Json, so_far: Json) -> Json:
    """Adds what the file lacks; a null in the file is a statement and stays."""
    filled = so_far | written
    for name, block in so_far.items():
        if isinstance(block, dict):
            known = written.get(name)
            filled[name] = block | (known if isinstance(known, dict) else {})
    return filled
