"""The block ``config.optim``: which optimizer, at which rates, checked at start-up."""

import dataclasses
import math
from collections.abc import Mapping

from slimjax.errors import ConfigError, suggest

ADAMS = ("adamw", "adam")
"""Optimizers that keep the second moment of each weight's gradient."""

OPTIMIZERS = (*ADAMS, "sgd", "momentum", "adafactor", "lion")
"""Names of the optimizers."""

DECAYS = ("cosine", "linear", "exponential", "inverse_sqrt", "step", "constant")
"""Ways in which the learning rate falls."""

DECAYS_BY_FACTOR = ("exponential", "step")
"""Decays that multiply the learning rate by a factor at fixed intervals."""

MOMENTS: Mapping[str, int] = {"adamw": 2, "adam": 2, "momentum": 1, "lion": 1}
"""Numbers that an optimizer keeps for each weight, at least; 0 if not named."""

USUAL_MOMENTUM = 0.9
USUAL_WEIGHT_DECAY = 0.1

BELOW_ONE = ("beta1", "beta2", "ema_decay", "momentum", "decay_rate")
ABOVE_ZERO = ("learning_rate", "decay_rate", "accumulation_steps")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """An optimizer, its learning rate with warm-up, plateau and decay, its penalties.

    Attributes:
        name: adamw, adam, sgd, momentum (SGD with momentum), adafactor or lion. See
            docs/optimizers.md.
        learning_rate: Peak.
        warmup_steps: Steps of linear rise from 0.
        decay: How the rate falls from its peak: cosine, linear, exponential,
            inverse_sqrt, step or constant (it does not fall).
        decay_fraction: Part of the steps, at the end, in which it falls; before, it
            stays at the peak.
        final_fraction: Learning rate at the last step, as a part of the peak; of the
            decays exponential, inverse_sqrt and step the least part.
        decay_restarts: Times that the cosine starts again from the peak.
        decay_rate: Factor on the rate in each interval, of exponential (a smooth
            curve) and step (at once, at the end of the interval).
        decay_every_steps: Steps of such an interval; 0 for a tenth of the steps in
            which the rate falls.
        momentum: Part of the last step that is taken again, of ``momentum`` alone; 0
            for the usual 0.9.
        nesterov: Whether ``momentum`` looks ahead, as Nesterov's does.
        weight_decay: Decoupled, of matrices only, scaled by the learning rate; for all
            optimizers but adam, which has none.
        l1: Weight of the sum of absolute values of matrices, in nats per target. After
            the step each weight moves towards 0 by the learning rate times this, and
            stops at exactly 0.
        l2: Weight of half the sum of squares of matrices in the loss: their gradient
            gets ``l2 * w`` before the optimizer sees it.
        beta1: Decay of the first moment of adamw, adam and lion.
        beta2: Decay of the second moment of adamw and adam, of the first moment that
            lion keeps, and of the curvature that is kept for choosing bits.
        clip_norm: Largest global norm of the weights' gradients; 0 for no limit.
        accumulation_steps: Parts that a batch is cut into, one after the other.
        ema_decay: Decay of an average of the weights, used in the end; 0 for none.
        layer_decay: Factor on the learning rate for each layer between a weight and the
            heads: heads have the whole rate, the last layer the rate times this, the
            embedding the least. Each tower counts for itself. It holds for weight decay
            and `l1` too; 1 for one rate.
    """

    name: str = "adamw"
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    decay: str = "cosine"
    decay_fraction: float = 1.0
    final_fraction: float = 0.05
    decay_restarts: int = 0
    decay_rate: float = 0.5
    decay_every_steps: int = 0
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = USUAL_WEIGHT_DECAY
    l1: float = 0.0
    l2: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    accumulation_steps: int = 1
    ema_decay: float = 0.0
    layer_decay: float = 1.0

    def __post_init__(self):
        """Refuses values with which nothing can be learned, or that have no effect."""
        for name, known in (("name", OPTIMIZERS), ("decay", DECAYS)):
            value = getattr(self, name)
            if value not in known:
                hint = suggest(value, known)
                raise ConfigError(f"config.optim.{name}={value!r} is unknown. {hint}")
        for name, value in dataclasses.asdict(self).items():
            if not isinstance(value, str):
                self._check_range(name, value)
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(
                f"config.optim.layer_decay={self.layer_decay} must be above 0 and at "
                "most 1."
            )
        self._check_optimizer()
        self._check_decay()

    def _check_range(self, name: str, value: float) -> None:
        low, is_open = 0, name in ABOVE_ZERO
        wrong = value <= low if is_open else value < low
        if wrong or not math.isfinite(value) or (name in BELOW_ONE and value >= 1):
            end = "and below 1" if name in BELOW_ONE else ""
            bound = "above 0" if is_open else "0 or more"
            raise ConfigError(
                f"config.optim.{name}={value} must be {f'{bound} {end}'.strip()}."
            )

    def _check_optimizer(self) -> None:
        asked = f"config.optim.name={self.name!r}"
        if self.name != "momentum" and (self.momentum or self.nesterov):
            name = "momentum" if self.momentum else "nesterov"
            raise ConfigError(
                f"config.optim.{name}={getattr(self, name)} has no effect with {asked}."
                " Set config.optim.name='momentum', or leave it out."
            )
        if self.name == "adam" and self.weight_decay not in (0, USUAL_WEIGHT_DECAY):
            raise ConfigError(
                f"config.optim.weight_decay={self.weight_decay} has no effect with "
                f"{asked}. Set config.optim.name='adamw', or config.optim.l2."
            )

    def _check_decay(self) -> None:
        asked = f"config.optim.decay={self.decay!r}"
        by_factor = self.decay_rate != 0.5 or self.decay_every_steps
        if by_factor and self.decay not in DECAYS_BY_FACTOR:
            name = "decay_every_steps" if self.decay_every_steps else "decay_rate"
            raise ConfigError(
                f"config.optim.{name}={getattr(self, name)} has no effect with {asked}."
                " Set config.optim.decay='exponential' or 'step', or leave it out."
            )
        if self.decay_restarts and self.decay != "cosine":
            raise ConfigError(
                f"config.optim.decay_restarts={self.decay_restarts} has no effect with "
                f"{asked}. Set config.optim.decay='cosine', or leave it out."
            )

    @property
    def bytes_per_weight(self) -> int:
        """Least bytes of a weight in training: itself, its gradient and its moments.

        All are float32. Adafactor's row and column means are left out.

        Examples:
            >>> [OptimConfig(name).bytes_per_weight for name in ("adamw", "sgd")]
            [16, 8]
        """
        return 4 * (2 + MOMENTS.get(self.name, 0))

    @property
    def trace_decay(self) -> float:
        """The momentum of the optimizer ``momentum``."""
        return self.momentum or USUAL_MOMENTUM
