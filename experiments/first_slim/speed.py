"""Is the last stage of a slim run really faster? Paired, A B A B, in one process.

Run: python experiments/first_slim/speed.py [--rounds=15]

Times the compiled train step of the quickstart's first shape against that of the shape
in which the slim run of seed 0 ended, in turn, and writes results/speed.json.
"""

import argparse
import json
import os
import time
from pathlib import Path

from slimjax.train.devices import prepare_devices

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))


def main() -> None:
    parser = argparse.ArgumentParser(description="Paired times of first and last stage")
    parser.add_argument("--rounds", type=int, default=15)
    flags = parser.parse_args()
    prepare_devices()
    import numpy as np

    from slimjax.config import read_config
    from slimjax.models.build import build_model
    from slimjax.train.config import make_run_config

    run = make_run_config(read_config(ROOT / "configs" / "quickstart.py"))
    model = build_model(run.model, run.data.vocab_size)
    result = json.loads((HERE / "results" / "slim49-seed0-lr0.002.json").read_text())
    small = model.with_architecture(result["architecture"], "architecture")
    steps = [make_step(run, shape) for shape in (model, small)]
    times = np.array([[step() for step in steps] for _ in range(flags.rounds)])
    ratios = times[:, 0] / times[:, 1]
    tokens = run.data.batch_size * run.data.seq_len
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    first, last = tokens / np.median(times, axis=0)
    found = {"ours": last, "peer": first, "ratio": middle, "low": low, "high": high}
    found = {name: round(float(value), 3) for name, value in found.items()}
    found |= {"unit": "tokens/s", "rounds": flags.rounds}
    (HERE / "results" / "speed.json").write_text(json.dumps(found, indent=1) + "\n")
    print(found)


def make_step(run, model):
    """Returns a function that takes one training step and returns its seconds."""
    import jax
    import numpy as np

    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.stage import make_stage

    stage = make_stage(expected_blueprint(run, model))
    state = stage.fresh()
    shape = (run.data.batch_size, run.data.seq_len)
    rows = np.random.default_rng(0).integers(4, model.vocab_size, shape, np.int32)
    batch = stage.put({"tokens": rows})
    for _ in range(2):
        state, _ = stage.programs.train_step(state, batch)
    jax.block_until_ready(state)

    def step() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = stage.programs.train_step(state, batch)
        jax.block_until_ready(state)
        return time.perf_counter() - start

    return step


if __name__ == "__main__":
    main()
