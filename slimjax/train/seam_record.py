"""What a seam leaves in the logs: one line of ``seams.jsonl``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Sizes = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class SeamRecord:
    """One seam.

    Attributes:
        step: Steps taken before it.
        strategy: What chose the units.
        taken: Whether the model was cut.
        reason: Why, or why not.
        alpha: The price, nats for the whole starting model; None where there is none.
        alphas: The price of each measure; their sum is `alpha`.
        predicted_loss_change: What the removed units were said to cost, in nats per
            target; None where costs are no nats.
        true_loss_change: What the cut did cost on the same rows.
        calibration: What costs were multiplied by.
        next_calibration: What those of the next seam are.
        closed: Number of units removed, by kind.
        gone: Kinds of layers of which nothing is left.
        bits: Number of units by their bits.
        before: Sizes before, by name.
        after: Sizes after.
        closed_cut_max_abs_diff: Largest difference between the logits of the closed
            and the cut model; None where nothing was cut.
        keeps_division: Whether the rule of ``config.objective.division`` was kept to;
            None without a rule.
        flops_spent: FLOPs of probes and refits.
        seconds: Time that the seam took.
    """

    step: int
    strategy: str
    taken: bool
    reason: str
    alpha: float | None
    alphas: Mapping[str, float | None]
    predicted_loss_change: float | None
    calibration: float
    closed: Mapping[str, int]
    bits: Mapping[str, int]
    before: Sizes
    after: Sizes = dataclasses.field(default_factory=dict)
    gone: tuple[str, ...] = ()
    true_loss_change: float = 0.0
    next_calibration: float = 1.0
    closed_cut_max_abs_diff: float | None = None
    keeps_division: bool | None = None
    flops_spent: float = 0.0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns the line: plain data, sizes by names such as ``params_before``."""
        line = dataclasses.asdict(self)
        for when in ("before", "after"):
            line |= {f"{name}_{when}": x for name, x in line.pop(when).items()}
        for name in ("closed_cut_max_abs_diff", "keeps_division"):
            if line[name] is None:
                del line[name]
        return line

    def describe(self) -> str:
        """Returns the seam in words, for the display."""
        name = "bytes" if "bytes" in self.alphas else "params"
        change = self.after[name] / self.before[name] - 1
        loss = f"loss {self.true_loss_change:+.3f}"
        if self.predicted_loss_change is not None:
            loss += f" (predicted {self.predicted_loss_change:+.3f})"
        text = f"seam at step {self.step}: {self.reason}; {name} {change:+.0%}, {loss}"
        if self.gone:
            text += f"; warning: no {' and no '.join(self.gone)} is left in the model"
        if self.keeps_division is False:
            text += "; config.objective.division: a tower had no more to give"
        return text
