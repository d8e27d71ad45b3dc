"""What half and a quarter of the bytes cost, against fresh models of the same shape.

Run: python experiments/tasks/slim.py --study=movie [--seed=0] [--row=slim50]
    [--workdir=runs/tasks]

| row | what it is |
|---|---|
| `dense` | the dense arm of run.py |
| `slim50`, `slim25` | the same, which loses units and bits at two seams until 50 % or 25 % of its bytes are left |
| `fresh50`, `fresh25` | a new model of the shape that the slim one has in the end, in 8 or 4 bits, for as many steps |
| `fresh50=`, `fresh25=` | the same for as many FLOPs as the slim run spent |
| `taught25` | `slim25` with the dense model as teacher (movie, ner-zh) |
| `attention`, `gru`, `lstm` | the decoder of translate with these cells, for as many FLOPs as `attention` |

Rows that are needed for others are made first. Results are those of run.py.
"""  # noqa: E501 (a table)

import argparse
import json
from pathlib import Path
from typing import Any

from arm import Settings
from run import ARMS, result_path, run_arm, train, train_arm
from slim_table import BASE, CELLS, ROWS

BITS = {"50": [8], "25": [4]}
"""Bits of a fresh model whose shape is that of a slim one, so that bytes are alike."""

TAUGHT = ("movie", "ner-zh")
CELL_STEPS = 1_200
TEACH: Settings = {"distill.weight": 0.5, "distill.temperature": 2.0}


def main() -> None:
    parser = argparse.ArgumentParser(description="Slim models of the tasks")
    parser.add_argument("--study", choices=BASE, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--row", default="", help="default all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/tasks"))
    flags = parser.parse_args()
    for row in [flags.row] if flags.row else rows_of(flags.study):
        make_row(flags.study, row, flags.seed, flags.workdir)


def rows_of(study: str) -> tuple[str, ...]:
    """Returns the rows of a study."""
    rows = ROWS if study in TAUGHT else ROWS[:-1]
    return (*rows, *(CELLS if study == "translate" else ()))


def make_row(study: str, row: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Returns the result of a row, and makes it unless it is there."""
    if row == "dense":
        run_arm(study, BASE[study], seed, workdir)
        row = BASE[study]
    path = result_path(study, row, seed)
    if not path.exists():
        before = lambda other: make_row(study, other, seed, workdir)
        settings = _settings(study, row, seed, workdir, before)
        train_arm(ARMS[study][BASE[study]].but(settings), study, row, seed, workdir)
    return json.loads(path.read_text())


def _settings(study: str, row: str, seed: int, workdir: Path, before: Any) -> Settings:
    """Returns what a row changes in the dense arm.

    Args:
        study: Its study.
        row: Its name.
        seed: The seed of all rows.
        workdir: Where the runs are.
        before: Returns the result of another row.
    """
    if row.removesuffix("-probe") in CELLS:
        return _cell(row, before)
    steps = before("dense")["train"]["steps"]
    kind, part = row[:-3] if row.endswith("=") else row[:-2], row.rstrip("=")[-2:]
    if kind in ("slim", "taught"):
        settings = slimming(steps, f"{part}%")
        if kind == "taught":
            teacher = workdir / result_path(study, BASE[study], seed).stem
            if not (teacher / "report.json").exists():  # Only its result is kept.
                train(ARMS[study][BASE[study]], study, seed, workdir, teacher)
            settings |= TEACH | {"distill.teacher": str(teacher)}
        return settings
    slim = before(f"slim{part}")
    if row.endswith("="):
        spent = before(f"fresh{part}")["train"]["flops_total"]
        steps = round(steps * slim["train"]["flops_total"] / spent)
    return {
        "objective.strategy": "scratch",
        "objective.budget": "",
        "model.architecture": without_bits(slim["architecture"]),
        "quantize.bits": BITS[part],
        "quantize.first_step": steps // 2,
        "train.num_steps": steps,
        "train.num_epochs": 0,
    }


def slimming(steps: int, budget: str) -> Settings:
    """Returns the settings by which a dense run ends at a part of its bytes.

    Seams are after a half and after five eighths of the steps.
    """
    return {
        "objective.strategy": "exchange",
        "objective.size": "bytes",
        "objective.budget": budget,
        "quantize.bits": [16, 8, 6, 4, 3, 2],
        "resize.first_step": steps // 2,
        "resize.every_steps": steps // 8,
        "resize.max_seams": 2,
    }


def without_bits(entries: Any) -> Any:
    """Returns a shape without the bits of its units.

    Examples:
        >>> without_bits([{"width": 8, "bits": {"mlp": [4]}}])
        [{'width': 8}]
    """
    if isinstance(entries, list):
        return [without_bits(entry) for entry in entries]
    if not isinstance(entries, dict):
        return entries
    return {name: without_bits(e) for name, e in entries.items() if name != "bits"}


def _cell(row: str, before: Any) -> Settings:
    """Returns the settings of a decoder's cell, at the FLOPs of attention."""
    short: Settings = {"train.num_epochs": 0, "train.num_steps": CELL_STEPS}
    if row == "attention":
        return short
    if row.endswith("-probe"):
        few = {"train.num_steps": 1, "data.test_fraction": 0.005}
        return short | few | {"model.cell": row.removesuffix("-probe")}
    price, own = (before(name)["train"] for name in ("attention", f"{row}-probe"))
    steps = price["flops_total"] / own["flops_total"]
    return short | {"model.cell": row, "train.num_steps": round(steps)}


if __name__ == "__main__":
    main()
