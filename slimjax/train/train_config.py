"""The block ``config.train``: how long a run is, and what happens on the way."""

import dataclasses
import math
from fractions import Fraction

from slimjax.errors import ConfigError, suggest
from slimjax.store.keep import Keep
from slimjax.train.guard import POLICIES, SKIP, Guard


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long a run is, and what happens on the way.

    Attributes:
        num_steps: Steps of the whole run.
        num_epochs: Passes over the training rows, in place of `num_steps`, which is
            then computed when the data are read: epochs x rows / batch size, rounded
            up. 0 for none.
        eval_every_steps: Steps between evaluations; 0 for the end only.
        eval_rows: Validation rows of an evaluation during the run, spread over the
            split; 0 for all.
        patience: Evaluations in a row without a better headline metric, after which the
            run ends; 0 for no such end. They count from the last seam on, and the best
            state of them is packed in place of the last one.
        save_every_steps: Steps between checkpoints; 0 for seams and the end only.
        keep_latest: How many of the newest checkpoints are kept.
        keep_best: How many checkpoints with the best headline metric on the validation
            split since the last seam are kept, where it was measured.
        keep_every_steps: Checkpoints at multiples of this number of steps are kept for
            good; 0 for none. All others are removed, so disk usage is bounded.
        log_every_steps: Steps between lines of ``metrics.jsonl``.
        continue_from: Folder of a run at whose newest state this one starts: weights,
            moments, structure, bits and step. Empty to start afresh. Its steps count in
            `num_steps`, and its FLOPs in ``flops_total``.
        on_bad_step: What happens when the loss or a gradient is not finite, or the loss
            jumps: ``stop`` ends the run, ``skip`` leaves the update out, ``rollback``
            returns to the newest checkpoint and uses other rows.
        spike_factor: A loss above this multiple of its running mean is a jump; 0 for no
            such test.
        max_bad_steps: Bad steps in a row that a run survives; the next one stops it.
            The count ends with a good step, with ``rollback`` with a new checkpoint.
        label_smoothing: Share of each target that is spread over all answers. This
            and `z_loss` are used in training only, not in losses that are reported.
        z_loss: Weight of the squared log-normaliser of the logits in the loss; 1e-4 is
            usual.
        profile_steps: Steps whose profile is written into the run folder, such as
            ``20:25`` for 20, 21, 22, 23 and 24, counted from 0; empty for none.
    """

    num_steps: int = 1000
    num_epochs: float = 0.0
    eval_every_steps: int = 100
    eval_rows: int = 256
    patience: int = 0
    save_every_steps: int = 200
    keep_latest: int = 2
    keep_best: int = 1
    keep_every_steps: int = 0
    log_every_steps: int = 10
    continue_from: str = ""
    on_bad_step: str = "stop"
    spike_factor: float = 0.0
    max_bad_steps: int = 5
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    profile_steps: str = ""

    def __post_init__(self):
        """Refuses runs without steps, and losses that are none."""
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, str):
                continue
            least = int(name in ("num_steps", "log_every_steps", "keep_latest"))
            if name == "num_steps" and self.num_epochs > 0:
                least = 0  # They are not known yet.
            if value < least:
                raise ConfigError(
                    f"config.train.{name}={value} must be {least} or more."
                )
        if self.patience and not self.eval_every_steps:
            raise ConfigError(
                f"config.train.patience={self.patience} counts evaluations, and "
                "config.train.eval_every_steps=0 makes none. Set it above 0."
            )
        if self.on_bad_step not in POLICIES:
            raise ConfigError(
                f"config.train.on_bad_step={self.on_bad_step!r} is unknown. "
                f"{suggest(self.on_bad_step, POLICIES)}"
            )
        if self.spike_factor and self.spike_factor <= 1:
            raise ConfigError(
                f"config.train.spike_factor={self.spike_factor} must be above 1, such "
                "as 3.0, or 0 for no such thing."
            )
        if self.label_smoothing >= 1:
            raise ConfigError(
                f"config.train.label_smoothing={self.label_smoothing} must be below 1, "
                "such as 0.1."
            )

        self.profiled  # noqa: B018 - It refuses what is no range of steps.

    @property
    def profiled(self) -> range:
        """The steps whose profile is written.

        Raises:
            ConfigError: If the setting is no range of steps.

        Examples:
            >>> TrainConfig(profile_steps="20:25").profiled
            range(20, 25)
        """
        first, _, end = (self.profile_steps or "0:0").partition(":")
        if not (first.isdecimal() and end.isdecimal()) or (
            self.profile_steps and int(first) >= int(end)
        ):
            raise ConfigError(
                f"config.train.profile_steps={self.profile_steps!r} must be a range of "
                "steps such as 20:25, or empty."
            )
        return range(int(first), int(end))

    def steps_of_epochs(self, num_rows: int, batch_size: int) -> int:
        """Returns the steps of `num_epochs`, rounded up.

        Epochs are taken as they are written: 1.1 is eleven tenths, not the float above.

        Examples:
            >>> TrainConfig(num_epochs=1.1).steps_of_epochs(num_rows=100, batch_size=10)
            11
        """
        return math.ceil(Fraction(str(self.num_epochs)) * num_rows / batch_size)

    @property
    def guard(self) -> Guard:
        """What detects bad steps."""
        return Guard(self.on_bad_step == SKIP, self.spike_factor)

    @property
    def keep(self) -> Keep:
        """Which checkpoints stay."""
        best = max(self.keep_best, int(self.patience > 0))
        return Keep(self.keep_latest, best, self.keep_every_steps)
