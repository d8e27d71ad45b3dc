"""Does the table of latencies tell what slim models gain?

Run: python experiments/speed/latency.py [--config=configs/quickstart.py] [--narrower]
     [--shapes=12] [--seed=1] [--seconds=20] [--json]

Measures a table as a run does that counts latency, then random slim shapes of the
model beside the whole one, and holds predicted against measured ratios slim / whole.
With --narrower, the residual stream is made narrower too.
"""

import time

import numpy as np
from paired import make_parser, write

from slimjax.config import read_config
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import make_latency_fn
from slimjax.objective.latency_table import LatencyTable
from slimjax.run.latency import measure_latency
from slimjax.run.latency_clock import time_models
from slimjax.run.latency_models import LEAST, ragged_model
from slimjax.train.config import make_run_config

PROMISED = 0.15
"""What a ratio may be off."""


def main() -> None:
    parser = make_parser(__doc__ or "", rounds=1_000)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--narrower", action="store_true")
    parser.add_argument("--shapes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    flags = parser.parse_args()
    run = make_run_config(read_config(flags.config))
    model = build_model(run.model, run.data.vocab_size)
    start = time.perf_counter()
    table = measure_latency(model, narrower=flags.narrower)
    took = time.perf_counter() - start
    models = [model, *choose_shapes(model, flags.shapes, flags.seed, flags.narrower)]
    seconds = time_models(models, flags.rounds, flags.seconds)
    told = [predict(shape, table) for shape in models]
    rows = [
        describe(*row, told[0], seconds[0])
        for row in zip(models[1:], told[1:], seconds[1:], strict=True)
    ]
    off = np.abs([row["off"] for row in rows])
    name = "latency_narrower" if flags.narrower else "latency"
    result = {
        "config": flags.config,
        "table": {"seconds_to_measure": took, "error": table.error},
        "whole_us": 1e6 * seconds[0],
        "whole_off": told[0] / seconds[0] - 1,
        "shapes": rows,
        "off": {"median": float(np.median(off)), "most": float(off.max())},
        "within": f"{(off <= PROMISED).sum()} of {len(rows)}",
    }
    write(name, result, as_json=flags.json)


def choose_shapes(
    model: ModelConfig, number: int, seed: int, narrower: bool
) -> list[ModelConfig]:
    """Returns slim models of a tenth to all of the units, ragged ones."""
    source, shapes = np.random.default_rng(seed), []
    for _ in range(number):
        least = model.width // LEAST
        width = source.integers(least, model.width + 1) if narrower else model.width
        part = model.with_main(width=int(width))
        shapes.append(ragged_model(part, source.uniform(0.1, 1.0), source))
    return shapes


def predict(model: ModelConfig, table: LatencyTable) -> float:
    """Returns the seconds a token that a table tells of a model."""
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 1}))
    return float(make_latency_fn(inventory, table)(inventory.open_gates()))


def describe(
    model: ModelConfig, told: float, seconds: float, whole_told: float, whole: float
) -> dict:
    """Returns what a shape is, and its ratio to the whole, predicted and measured."""
    predicted, measured = told / whole_told, seconds / whole
    return {
        "width": model.width,
        "layers": [[x.num_heads, x.num_kv_heads, x.mlp_dim] for x in model.layers],
        "us": 1e6 * seconds,
        "predicted": predicted,
        "measured": measured,
        "off": predicted / measured - 1,
    }


if __name__ == "__main__":
    main()
