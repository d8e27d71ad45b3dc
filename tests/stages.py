"""What tests of stages share: the tiny model's stage, and some steps of it."""

import re

import numpy as np

from slimjax.config import override, read_config
from slimjax.data.batches import make_batch
from slimjax.models.config import ModelConfig
from slimjax.objective.latency_table import LatencyTable
from slimjax.run.blueprints import expected_blueprint
from slimjax.train.config import RunConfig, make_run_config
from slimjax.train.stage import Stage
from slimjax.train.stage import make_stage as make_any_stage
from slimjax.train.state import init_params

TABLE = LatencyTable(
    vocab_size=259,
    head_dim=8,
    widths=(8, 32),
    kv_heads=(1, 2),
    group=(1, 2),
    units=(6, 24, 48),
    base=(0.5e-3, 1e-3),
    attention=(((0.3e-3, 1e-3), (1e-3, 1e-3)), ((1e-3, 2e-3), (2e-3, 3e-3))),
    mlp=((0.5e-3, 1e-3, 1e-3), (1e-3, 2e-3, 5e-3)),
)
"""Times of the tiny model, made up."""


def stage_of(run: RunConfig, model: ModelConfig | None = None, **options) -> Stage:
    """Returns the stage of a run on text of bytes, before there is any."""
    return make_any_stage(expected_blueprint(run, model, **options))


def make_stage(*changes: tuple[str, str]) -> Stage:
    base = [("mesh.data", "1"), ("data.seq_len", "9"), ("model.num_layers", "1")]
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    run = make_run_config(config)
    return stage_of(run)


def take_steps(stage: Stage, num_steps: int = 3, state=None):
    rows = np.random.default_rng(0).integers(3, 259, (40, 9))
    state = state or stage.start(init_params(stage.blueprint.model, seed=0))
    losses = []
    for step in range(num_steps):
        batch = stage.put(make_batch(rows, step, 8, seed=0))
        state, metrics = stage.programs.train_step(state, batch)
        losses.append(float(metrics["nats_sum"]) / float(metrics["num_targets"]))
    return state, losses


def instructions(compiled) -> list[str]:
    """Returns the optimised program, without the places in the source it is from."""
    text = re.sub(r"(, )?metadata=\{[^}]*\}", "", compiled.as_text())
    starts = ("%", "ROOT", "ENTRY")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line.startswith(starts)]
    assert len(lines) > 100
    return lines
