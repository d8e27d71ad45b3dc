"""What a process of a run saw: the rows of each step, and states saved and restored."""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from slimjax.data.dataset import Dataset
from slimjax.nn.axes import to_host
from slimjax.store.checkpoint import Checkpoints
from slimjax.train import stage
from slimjax.trees import hash_tree


def watch(path: Path) -> None:
    """Has this process write down what it sees, a JSON object a line.

    A batch is told as the digests of the rows that lie on this process's own devices,
    by their number in the batch; a state by its hash.
    """
    file, made = path.open("a"), []
    kind: Any = Checkpoints
    make_batch, put_batch = Dataset.batch, stage.put_batch
    save, restore = Checkpoints.save, Checkpoints.restore

    def tell(**entry: Any) -> None:
        print(json.dumps(entry), file=file, flush=True)

    def make(data: Dataset, split: str, step: int, *args: Any) -> Any:
        batch = make_batch(data, split, step, *args)
        made[:] = [step, batch]
        return batch

    def put(batch: Any, *args: Any) -> Any:
        placed = put_batch(batch, *args)
        if made and batch is made[1]:  # Those of an evaluation belong to no step.
            tell(step=made[0], rows=rows_of(placed["tokens"]))
        return placed

    def save_told(own: Checkpoints, state: Any, *args: Any) -> str:
        name = save(own, state, *args)
        tell(saved=name, hash=hash_tree(to_host(state)))
        return name

    def restore_told(own: Checkpoints, name: str, target: Any) -> Any:
        state = restore(own, name, target)
        tell(restored=name, hash=hash_tree(to_host(state)))
        return state

    own: Any = Dataset
    own.batch, stage.put_batch = make, put
    kind.save, kind.restore = save_told, restore_told


def rows_of(tokens: jax.Array) -> dict[str, int]:
    """Returns the crc32 of each row that is here, by its number in the batch."""
    told = {}
    for shard in tokens.addressable_shards:
        first = shard.index[0].start or 0
        for i, row in enumerate(np.asarray(shard.data)):
            told[str(first + i)] = zlib.crc32(row.tobytes())
    return told


def read(paths: list[Path]) -> tuple[list[int], dict[int, dict[str, int]]]:
    """Returns the order of the steps, and the rows of each, all processes together.

    Args:
        paths: What the processes wrote, process 0 first.

    Raises:
        ValueError: If two devices had different rows in one place.
    """
    rows: dict[int, dict[str, int]] = {}
    for path in paths:
        for entry in _entries(path, "step"):
            known = rows.setdefault(entry["step"], {})
            if any(known.get(i, crc) != crc for i, crc in entry["rows"].items()):
                raise ValueError(f"two devices differ in a row of step {entry['step']}")
            known |= entry["rows"]
    return [entry["step"] for entry in _entries(paths[0], "step")], rows


def changed(paths: list[Path]) -> list[str]:
    """Returns the checkpoints that were not restored as they were saved."""
    saved = {e["saved"]: e["hash"] for p in paths for e in _entries(p, "saved")}
    restored = [entry for path in paths for entry in _entries(path, "restored")]
    if not restored:
        return ["none was restored"]
    return [e["restored"] for e in restored if saved[e["restored"]] != e["hash"]]


def _entries(path: Path, kind: str) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry for line in lines if kind in (entry := json.loads(line))]
