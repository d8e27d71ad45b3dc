"""What a run writes about its steps: lines, events and the display."""

import math
from typing import Any

from slimjax.data.corpus import Corpus
from slimjax.run.evaluate import Error, bits_per_byte
from slimjax.run.facts import describe_size, describe_step
from slimjax.run.progress import Display
from slimjax.store.metrics_log import Events
from slimjax.store.run_folder import RunFolder
from slimjax.train.history import History
from slimjax.train.stage import Stage

SUMMED = ("nats_sum", "num_tokens")
"""Metrics of a step that are added up from one line to the next."""


class Logbook:
    """Adds up the metrics of steps, and writes a line now and then."""

    def __init__(self, folder: RunFolder, corpus: Corpus, display: Display, step: int):
        """Opens the logs of a run that goes on from `step`."""
        self.metrics, self.corpus, self.display = folder.metrics, corpus, display
        self.events = Events(folder.events, step)
        self._reset()

    def _reset(self) -> None:
        self.sums = dict.fromkeys(SUMMED, 0.0)
        self.seconds, self.num_steps = 0.0, 0

    def add(self, metrics: dict[str, float], seconds: float, *, good: bool) -> None:
        """Adds a step that took so long; of a bad one, its time alone."""
        for name in SUMMED if good else ():
            self.sums[name] += metrics[name]
        self.seconds += seconds
        self.num_steps += 1

    def write(
        self,
        step: int,
        stage: Stage,
        *,
        grad_norm: float,
        history: History,
        error: Error | None,
    ) -> None:
        """Writes the line of a step, about all steps since the line before."""
        run = stage.run
        tokens = run.data.batch_size * run.data.seq_len
        num_tokens = self.sums["num_tokens"]
        loss = self.sums["nats_sum"] / num_tokens if num_tokens else math.nan
        step_time = self.seconds / max(self.num_steps, 1)
        entry: dict[str, Any] = {
            "step": step,
            "tokens": step * tokens,
            "loss": loss,
            "bits_per_byte": bits_per_byte(loss, self.corpus, "train"),
            "grad_norm": grad_norm,
            "params": int(stage.sizes["params"]),
            "flops_per_token": stage.sizes["flops"],
            "bytes": int(stage.sizes["bytes"]),
            "alpha": history.alpha,
            "bad_steps": history.num_bad_steps,
            "step_time_s": step_time,
            "tokens_per_s": tokens / step_time if step_time else None,
        }
        if error is not None:
            entry["valid_nats_per_token"] = error.nats_per_token
            entry["valid_bits_per_byte"] = error.bits_per_byte
        failure = self.metrics.append(entry)
        if failure:
            self.display.say(f"{failure} Its lines wait.")
        self.events.append(entry)
        self._reset()
        self._show(entry, stage)

    def _show(self, entry: dict[str, Any], stage: Stage) -> None:
        sizes = [
            describe_size(measure, stage.sizes[measure], stage.start_sizes[measure])
            for measure in stage.run.objective.measures
        ]
        num_steps, is_due = stage.run.train.num_steps, "valid_bits_per_byte" in entry
        facts = describe_step(entry, sizes)
        self.display.step(entry["step"], num_steps, facts, always=is_due)
