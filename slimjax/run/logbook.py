"""What a run writes about its steps: lines, events and the display."""

import math
from typing import Any

import numpy as np

from slimjax.data.dataset import Dataset
from slimjax.run.evaluation import Evaluation
from slimjax.run.facts import describe_size, describe_step
from slimjax.run.progress import Display
from slimjax.store.metrics_log import Events
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.history import History


class Logbook:
    """Adds up the metrics of steps, and writes a line now and then."""

    def __init__(self, folder: RunFolder, data: Dataset, display: Display, step: int):
        """Opens the logs of a run that goes on from `step`."""
        self.metrics, self.data, self.display = folder.metrics, data, display
        self.events = Events(folder.events, step)
        self._reset()

    def _reset(self) -> None:
        self.nats_sum = self.num_targets = 0.0
        self.seconds, self.num_steps = 0.0, 0

    def add(self, metrics: dict[str, float], seconds: float, *, good: bool) -> None:
        """Adds a step that took so long; of a bad one, its time alone."""
        if good:
            self.nats_sum += metrics["nats_sum"]
            self.num_targets += metrics["num_targets"]
        self.seconds += seconds
        self.num_steps += 1

    def write(
        self,
        step: int,
        blueprint: Blueprint,
        *,
        grad_norm: float,
        history: History,
        evaluation: Evaluation | None,
    ) -> None:
        """Writes the line of a step, about all steps since the line before."""
        positions, sizes = blueprint.positions_per_step, blueprint.sizes
        loss = self.nats_sum / self.num_targets if self.num_targets else math.nan
        step_time = self.seconds / max(self.num_steps, 1)
        entry: dict[str, Any] = {
            "step": step,
            "tokens": step * positions,
            "loss": loss,
            **self._metrics_of(loss, blueprint),
            "grad_norm": grad_norm,
            "params": int(sizes["params"]),
            "flops_per_token": sizes["flops"],
            "bytes": int(sizes["bytes"]),
            "alpha": history.alpha,
            "bad_steps": history.num_bad_steps,
            "step_time_s": step_time,
            "tokens_per_s": positions / step_time if step_time else None,
        }
        if evaluation is not None:
            entry["valid_nats_per_target"] = evaluation.error
            values = evaluation.metrics
            entry |= {f"valid_{key}": value for key, value in values.items()}
        failure = self.metrics.append(entry)
        if failure:
            self.display.say(f"{failure} Its lines wait.")
        self.events.append(entry)
        self._reset()
        self._show(entry, blueprint)

    def _metrics_of(self, loss: float, blueprint: Blueprint) -> dict[str, float]:
        """Returns the metrics that follow from the loss of training rows."""
        counts = self.data.row_counts["train"]
        totals = {name: np.sum(each, dtype=np.float64) for name, each in counts.items()}
        columns = {name: np.array([total]) for name, total in totals.items()}
        columns["nats"] = loss * columns["targets"]
        metrics = [m for m in blueprint.task.metrics if m.from_loss]
        return {metric.key: float(metric.of(columns)) for metric in metrics}

    def _show(self, entry: dict[str, Any], blueprint: Blueprint) -> None:
        sizes, start = blueprint.sizes, blueprint.start_sizes
        run, headline = blueprint.run, f"valid_{blueprint.task.headline.key}"
        described = [
            describe_size(measure, sizes[measure], start[measure])
            for measure in run.objective.measures
        ]
        facts = describe_step(entry, described, blueprint.task.metrics)
        rows_read = entry["step"] * run.data.batch_size
        facts.append(f"epoch {rows_read / self.data.num_rows('train'):,.1f}")
        is_due = headline in entry
        self.display.step(entry["step"], run.train.num_steps, facts, always=is_due)
