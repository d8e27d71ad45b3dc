"""Small runs, in this process, whose steps go wrong when they are told to."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from slimjax.config import override, read_config
from slimjax.data.dataset import Dataset
from slimjax.run.progress import Display
from slimjax.run.resume import begin_or_resume
from slimjax.train import programs
from slimjax.train.config import RunConfig, make_run_config

CONFIG = Path(__file__).parents[2] / "configs" / "tiny_test.py"
FACTORS = (1.0, jnp.nan, jnp.inf, -jnp.inf, 50.0, 1e30)
"""What the error of a step is multiplied by, by the first token of its rows."""


class Says(Display):
    """A display that keeps what it is told."""

    def __init__(self):
        """Shows nothing."""
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def make_run(texts: str | Path, *, dense: bool = True, **changes: Any) -> RunConfig:
    """Returns the tiny config; dense, it has one layer and no seams."""
    every = {"data.source": f"text:{texts}/*.txt", "mesh.data": 1}
    if dense:
        every |= {"objective.strategy": "none", "objective.budget": ""}
        every |= {"model.num_layers": 1, "train.num_steps": 16}
        every |= {"train.save_every_steps": 5, "train.eval_every_steps": 5}
    every |= {name.replace("__", "."): value for name, value in changes.items()}
    written = [(name, str(value)) for name, value in every.items()]
    return make_run_config(override(read_config(CONFIG), written))


def poison(monkeypatch: Any, faults: dict[int, int]) -> None:
    """Multiplies the errors of some steps' own rows.

    Args:
        monkeypatch: What sets attributes, and later resets them.
        faults: Number of the step, from 1 -> index of `FACTORS`.
    """
    make_batch, make_error_fn = Dataset.batch, programs.make_error_fn

    def make_marked_batch(data: Dataset, split: str, step: int, *args: Any) -> Any:
        batch = make_batch(data, split, step, *args)
        batch["tokens"][:, 0] = faults.get(step + 1, 0)
        return batch

    def make_poisoned_error_fn(*args: Any, **kwargs: Any) -> Any:
        error_fn = make_error_fn(*args, **kwargs)

        def error(params: Any, batch: Any, key: Any) -> Any:
            error, sums = error_fn(params, batch, key)
            factor = jnp.array(FACTORS)[batch["tokens"][0, 0]]
            return error * factor, sums | {"nats_sum": sums["nats_sum"] * factor}

        return error

    monkeypatch.setattr(Dataset, "batch", make_marked_batch)
    monkeypatch.setattr(programs, "make_error_fn", make_poisoned_error_fn)


def state_of(run: RunConfig, folder: Any, data: Dataset, says: Display) -> Any:
    """Returns the state that a run would go on with."""
    stage, state, history = begin_or_resume(run, folder, data, says)
    del stage, history
    return jax.device_get(state)
