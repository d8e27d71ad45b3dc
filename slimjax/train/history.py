"""What has happened so far in a run: plain data that a checkpoint's manifest keeps."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class StageRecord:
    """One stage, as far as it has come.

    Attributes:
        start_step: Steps taken before it.
        params: Weights of its model.
        flops_per_token: Forward FLOPs of its model.
        bytes: Size of its packed file.
        architecture: Its layers.
        num_steps: Steps taken in it.
        seconds: Time of those steps, compiling and everything else apart.
        compile_s: Time of compiling its step.
        predicted_loss_change: What the seam before it was said to cost.
        true_loss_change: What it did cost, on the same rows.
    """

    start_step: int
    params: int
    flops_per_token: float
    bytes: int
    architecture: list[dict[str, Any]] | dict[str, Any]
    num_steps: int = 0
    seconds: float = 0.0
    compile_s: float = 0.0
    predicted_loss_change: float | None = None
    true_loss_change: float | None = None

    def summary(self, tokens_per_step: int) -> dict[str, Any]:
        """Returns the record with step time and tokens a second."""
        entry = dataclasses.asdict(self)
        step_time = self.seconds / self.num_steps if self.num_steps else None
        entry["end_step"] = self.start_step + self.num_steps
        entry["step_time_s"] = step_time
        entry["tokens_per_s"] = tokens_per_step / step_time if step_time else None
        return entry


@dataclasses.dataclass
class History:
    """The stages of a run and what else was spent.

    Attributes:
        stages: In order; the last one is running.
        num_seams: Seams passed, taken or not.
        seam_flops: FLOPs of probes at seams.
        teacher_flops: FLOPs of the teacher's forward passes; where what it says is
            kept, of one for each row that the run sees.
        inherited_flops: FLOPs of the run that this one started from, if any.
        seconds: Time of the whole run, restarts included.
        num_bad_steps: Steps whose loss or gradient was not finite, or leapt.
        num_bad_in_a_row: Those of them since the run last moved on.
        num_rollbacks: How often the run went back to a checkpoint for them.
        detours: How often other rows were taken for a step, by its number.
        alpha: The price at the last seam, nats for the whole starting model.
        alphas: The price of each measure; `alpha` is their sum.
        calibration: True loss change of the last seam taken, as a part of what its
            units were said to cost; by it costs are corrected at the next.
        best: The best evaluation of the headline since the last seam, a number of
            which less is better, where patience is asked for.
        best_step: Steps taken before it.
        num_not_better: Evaluations since.
        init_from: Whose weights the run started from, their digest, and what was taken
            over; None for fresh weights.
    """

    stages: list[StageRecord] = dataclasses.field(default_factory=list)
    num_seams: int = 0
    seam_flops: float = 0.0
    teacher_flops: float = 0.0
    inherited_flops: float = 0.0
    seconds: float = 0.0
    num_bad_steps: int = 0
    num_bad_in_a_row: int = 0
    num_rollbacks: int = 0
    detours: dict[str, int] = dataclasses.field(default_factory=dict)
    alpha: float | None = None
    alphas: dict[str, float | None] = dataclasses.field(default_factory=dict)
    calibration: float = 1.0
    best: float | None = None
    best_step: int | None = None
    num_not_better: int = 0
    init_from: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "History":
        """Returns what `dataclasses.asdict` took apart."""
        stages = [StageRecord(**stage) for stage in data["stages"]]
        return cls(**{**data, "stages": stages})

    def go_back_from(self, later: "History") -> None:
        """Takes over from a later history what a way back does not undo."""
        self.num_bad_steps = later.num_bad_steps
        self.num_bad_in_a_row = later.num_bad_in_a_row
        self.num_rollbacks = later.num_rollbacks + 1
        self.detours, self.seconds = later.detours, later.seconds

    def prices(self, measure: str) -> dict[str, float]:
        """Returns the price of each measure at the last seam; nothing without a price.

        Args:
            measure: The one that has the price where a checkpoint names none.

        Examples:
            >>> History(alpha=3.0, alphas={"bytes": 1.0, "flops": 2.0}).prices("bytes")
            {'bytes': 1.0, 'flops': 2.0}
            >>> History(alpha=3.0).prices("bytes"), History().prices("bytes")
            ({'bytes': 3.0}, {})
        """
        found = self.alphas or {measure: self.alpha}
        return {name: alpha for name, alpha in found.items() if alpha is not None}

    def training_flops(self, tokens_per_step: int) -> float:
        """Returns 3 times the forward FLOPs of all steps, and what else was spent."""
        steps = sum(3 * s.flops_per_token * s.num_steps for s in self.stages)
        others = self.seam_flops + self.teacher_flops + self.inherited_flops
        return steps * tokens_per_step + others
