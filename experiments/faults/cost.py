"""What a step costs that leaves bad updates out, against one that does not look.

Run: python experiments/faults/cost.py
"""

import json
import time
from pathlib import Path

import jax
import numpy as np

from slimjax.config import override, read_config
from slimjax.run.blueprints import expected_blueprint
from slimjax.train.config import make_run_config
from slimjax.train.devices import prepare_devices
from slimjax.train.stage import Stage, make_stage

HERE = Path(__file__).parent
ROUNDS, STEPS = 15, 10
MODEL = {"model.width": 128, "model.head_dim": 32, "model.mlp_dim": 344}
MODEL |= {"model.num_layers": 4, "data.seq_len": 128, "data.batch_size": 16}


def stage_with(policy: str) -> Stage:
    changes = MODEL | {"mesh.data": 1, "train.on_bad_step": policy}
    text = [(name, str(value)) for name, value in changes.items()]
    config = override(read_config(HERE.parents[1] / "configs/tiny_test.py"), text)
    run = make_run_config(config)
    return make_stage(expected_blueprint(run))


def main() -> None:
    prepare_devices()
    stages = {policy: stage_with(policy) for policy in ("stop", "skip")}
    tokens = np.random.default_rng(0).integers(3, 259, (16, 128)).astype(np.int32)
    states = {p: s.fresh() for p, s in stages.items()}
    times: dict[str, list[float]] = {policy: [] for policy in stages}
    for _ in range(ROUNDS + 1):  # The first one compiles.
        for policy, stage in stages.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                train_step = stage.programs.train_step
                states[policy], _ = train_step(states[policy], {"tokens": tokens})
            jax.block_until_ready(states[policy])
            times[policy].append((time.perf_counter() - start) / STEPS)
    ratios = np.array(times["skip"][1:]) / np.array(times["stop"][1:])
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9)).tolist()
    result = {"ours": float(np.median(times["skip"][1:])), "ratio": middle}
    result |= {"peer": float(np.median(times["stop"][1:])), "low": low, "high": high}
    (HERE / "results" / "cost.json").write_text(json.dumps(result, indent=2) + "\n")
    print(result)


if __name__ == "__main__":
    main()
