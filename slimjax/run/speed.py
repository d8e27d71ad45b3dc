"""How much faster the last stage trains than the first: both are timed in turns.

Times of stages are taken minutes apart, and a machine that did other work meanwhile
makes them say anything. So when a run ends, its first and its last step take turns for
some seconds, and the ratio of each turn counts.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from slimjax import processes
from slimjax.data.dataset import Dataset
from slimjax.memory import is_out_of_memory
from slimjax.run.blueprints import make_blueprint, make_model
from slimjax.train.history import History
from slimjax.train.stage import Stage, make_stage

SECONDS = 6.0
"""Time that the turns take together, about; no more than the steps of the run took."""

TURN_SECONDS = 0.15
"""Least time of a turn, so that a clock can tell it."""

ROUNDS = 5, 25
"""Least and largest number of rounds."""

PERCENTILES = 10, 90
"""Ends of the range that is reported."""

Step = Callable[[], Any]


def compare_speed(
    stage: Stage, history: History, data: Dataset
) -> dict[str, float] | None:
    """Returns how many times as fast the last stage is, with its range.

    Args:
        stage: The last stage.
        history: Has the architecture of the first.
        data: Where batches are from.

    Returns:
        ``ratio``, ``low`` and ``high``, the median and the 10th and 90th percentile,
        and ``rounds``; None if no seam was taken, if memory has no room for two more
        states, or with several processes, of which all would have to find that out.
    """
    if len(history.stages) < 2 or processes.count() > 1:
        return None
    try:
        return _compare(stage, history, data)
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def _compare(stage: Stage, history: History, data: Dataset) -> dict[str, float]:
    run = stage.blueprint.run
    architecture = history.stages[0].architecture
    model = make_model(run, data.outline).with_architecture(architecture, "stage 0")
    first = make_stage(make_blueprint(run, data.outline, model), stage.mesh)
    spent = sum(record.seconds for record in history.stages)
    steps = (_make_step(one, data) for one in (first, stage))
    ratios = time_in_turns(*steps, seconds=min(SECONDS, spent))
    low, high = np.percentile(ratios, PERCENTILES)
    return {
        "ratio": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
        "rounds": len(ratios),
    }


def time_in_turns(first: Step, last: Step, seconds: float | None = None) -> list[float]:
    """Returns the time of the first step by that of the last, for each round."""
    seconds = SECONDS if seconds is None else seconds
    once = [_time(step, 1) for step in (first, last)]
    counts = [max(1, round(TURN_SECONDS / one)) for one in once]
    turn = sum(count * one for count, one in zip(counts, once, strict=True))
    rounds = int(np.clip(seconds / turn, *ROUNDS))
    pairs = [
        [_time(step, count) for step, count in zip((first, last), counts, strict=True)]
        for _ in range(rounds)
    ]
    return [whole / small for whole, small in pairs]


def _time(step: Step, count: int) -> float:
    """Returns the seconds of one step, the mean of some."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def _make_step(stage: Stage, data: Dataset) -> Step:
    """Returns a function that takes a step and waits, compiled and tried."""
    run, state = stage.blueprint.run, stage.fresh()
    batch = stage.put(data.batch("train", 0, run.data.batch_size, run.seed))
    train_step = stage.programs.train_step

    def step() -> None:
        nonlocal state
        state, metrics = train_step(state, batch)
        jax.block_until_ready(metrics)

    for _ in range(2):
        step()
    return step
