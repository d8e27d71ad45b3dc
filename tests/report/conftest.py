"""Run folders as training would leave them, made up from a seed."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

START = {"num_heads": 8, "num_kv_heads": 8, "head_dim": 32, "mlp_dim": 704}
CUTS = (0.82, 0.60, 0.41)  # Share of the starting parameters after each seam.
PARAMS, FLOPS, TOKENS_A_STEP = 5_772_544, 11_010_048, 4096


def make_layers(num_layers: int, seed: int = 0) -> list[list[dict]]:
    """Returns the layers of four stages, each smaller than the one before."""
    rng = np.random.default_rng(seed)
    stages = [[START | {"attention": True, "mlp": True} for _ in range(num_layers)]]
    for cut in CUTS:
        layers = []
        for layer in stages[-1]:
            heads = min(
                layer["num_heads"], int(rng.integers(2, 9) * math.sqrt(cut)) + 1
            )
            width = min(layer["mlp_dim"], int(704 * cut * rng.uniform(0.55, 1.3)))
            new = {"num_heads": heads, "num_kv_heads": heads, "mlp_dim": width}
            layers.append(layer | new)
        stages.append(layers)
    if num_layers > 3:
        stages[-1][2] = stages[-1][2] | {"attention": False}
        stages[-1][-2] = stages[-1][-2] | {"mlp": False}
    return stages


def make_seams(num_steps: int) -> list[dict]:
    shares = (1.0, *CUTS)
    seams = []
    for index, (before, after) in enumerate(zip(shares, CUTS, strict=False)):
        seams.append(
            {
                "step": num_steps * (index + 1) // 5,
                "taken": True,
                "reason": "pays",
                "params_before": int(before * PARAMS),
                "params_after": int(after * PARAMS),
                "flops_per_token_before": int(before**0.85 * FLOPS),
                "flops_per_token_after": int(after**0.85 * FLOPS),
                "alpha": 0.1,
                "predicted_loss_change": 0.021 * (index + 1),
                "true_loss_change": 0.016 * (index + 1) ** 1.4,
                "closed_cut_max_abs_diff": 2.4e-7,
                "seconds": 0.8,
                "closed": {"heads": 5 + index, "mlp_units": 700 - 10 * index},
            }
        )
    refused = {"step": num_steps * 4 // 5, "taken": False, "reason": "saves too little"}
    return [*seams, refused | {"params_before": int(CUTS[-1] * PARAMS)}]


def make_metrics(num_steps: int, every: int = 2) -> list[dict]:
    rng = np.random.default_rng(1)
    seams = [seam for seam in make_seams(num_steps) if seam["taken"]]
    rows = []
    for step in range(every, num_steps + 1, every):
        past = [seam for seam in seams if seam["step"] < step]
        share = CUTS[len(past) - 1] if past else 1.0
        hurt = sum(
            seam["true_loss_change"] * math.exp((seam["step"] - step) / 25)
            for seam in past
        )
        clean = 3.1 + 5.2 * math.exp(-step / (0.11 * num_steps)) + hurt
        row = {
            "step": step,
            "tokens": step * TOKENS_A_STEP,
            "loss": clean + rng.normal(0, 0.09),
            "params": int(share * PARAMS),
            "flops_per_token": int(share**0.85 * FLOPS),
            "bytes": int(4 * share * PARAMS),
            "alpha": 0.1 if past else None,
            "step_time_s": 0.9 * (0.2 + 0.8 * share) * rng.uniform(0.96, 1.08),
        }
        row["bits_per_byte"] = row["loss"] / 2.25
        row["tokens_per_s"] = TOKENS_A_STEP / row["step_time_s"]
        if step % max(every, num_steps // 15) == 0:
            row["valid_nats_per_token"] = clean + 0.08
            row["valid_bits_per_byte"] = row["valid_nats_per_token"] / 2.25
        rows.append(row)
    return rows


def make_report(num_steps: int, stages: list[list[dict]]) -> dict:
    shares, seams = (1.0, *CUTS), make_seams(num_steps)
    starts = [0, *(seam["step"] for seam in seams[:3])]
    blocks = []
    for index, (share, start, layers) in enumerate(
        zip(shares, starts, stages, strict=True)
    ):
        time = 0.9 * (0.2 + 0.8 * share)
        blocks.append(
            {
                "start_step": start,
                "end_step": (*starts[1:], num_steps)[index],
                "params": int(share * PARAMS),
                "flops_per_token": int(share**0.85 * FLOPS),
                "bytes": int(4 * share * PARAMS),
                "step_time_s": time,
                "tokens_per_s": TOKENS_A_STEP / time,
                "compile_s": 6.5,
                "predicted_loss_change": None,
                "true_loss_change": None,
                "architecture": layers,
            }
        )
    size = {"alpha": 0.1, "complexity": 3.22, "packed_file_bytes": 9_470_112}
    for name, full in (
        ("params", PARAMS),
        ("flops_per_token", FLOPS),
        ("bytes", 4 * PARAMS),
        ("kv_bytes_per_token", 6144),
    ):
        share = CUTS[-1] ** 0.85 if name == "flops_per_token" else CUTS[-1]
        size |= {name: int(share * full), f"{name}_start": full}
    return {
        "error": {
            "valid_nats_per_token": 3.18,
            "valid_bits_per_byte": 1.4129,
            "test_bits_per_byte": 1.4307,
        },
        "size": size | {"params_fraction": 0.41, "flops_fraction": 0.47},
        "train": {
            "steps": num_steps,
            "tokens": num_steps * TOKENS_A_STEP,
            "flops_total": 4.1e13,
            "seconds": 421.5,
            "compile_seconds": 26.0,
            "tokens_per_s_first_stage": blocks[0]["tokens_per_s"],
            "tokens_per_s_last_stage": blocks[-1]["tokens_per_s"],
            "finished": True,
        },
        "stages": blocks,
        "data": {"source": "stdlib", "fingerprint": "5f1c", "tokens_train": 9_000_000},
        "seed": 0,
        "config_hash": "ab12",
        "state_hash": "cd34",
        "versions": {"jax": "0.10.2"},
        "machine": {"cpus": 2},
        "strategy": "exchange",
        "samples": [{"prompt": "def add(", "text": "def add(a, b):\n    return a + b"}],
        "a_key_of_tomorrow": 1,
    }


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def make_run(tmp_path):
    """Returns a function that writes a run folder and gives its path."""

    def make(name="run", *, num_layers=6, num_steps=600, finished=True, **changes):
        folder = tmp_path / name
        folder.mkdir()
        stages = make_layers(num_layers)
        model = START | {"num_layers": num_layers, "width": 256}
        config = {"seed": 0, "model": model, "train": {"num_steps": num_steps}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "architecture.json").write_text(json.dumps(stages[-1]))
        write_lines(folder / "metrics.jsonl", make_metrics(num_steps))
        write_lines(folder / "seams.jsonl", make_seams(num_steps))
        if finished:
            report = make_report(num_steps, stages) | changes
            (folder / "report.json").write_text(json.dumps(report))
        return folder

    return make
