"""The block ``config.distill``: which teacher, and with which weight."""

import dataclasses

import optax

from slimjax.errors import ConfigError

START = "start"
"""The teacher that is the model itself, before its first cut."""

TOGETHER = "together"
"""The teacher that learns beside the model, in the same steps."""


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """A teacher beside the text.

    The error that is descended is ``(1 - weight) * CE + weight * T^2 * KL(teacher ||
    student) + hidden_weight * (distance of hidden states)``; errors that are reported
    stay plain cross entropies. Of two models that learn together, each has ``CE +
    weight * T^2 * KL(other || own)``.

    Attributes:
        teacher: Folder of a finished run with the same tokenizer, or ``start`` for the
            model before its first cut, or ``together`` for a second model that learns
            in the same steps and is dropped at the end; empty for no teacher.
        architecture: Of ``together``: path of the ``architecture.json`` of the second
            model, or what such a file holds; empty for the model's at its start.
        weight: Share of the error that comes from the teacher's logits, 0 to 1.
        hidden_weight: Weight of the distance of hidden states
            (`slimjax.distill.alignment_error`); 0 for none. With both weights 0 there
            is no teacher.
        temperature: T, which divides both models' logits.
        first_step: Step from which a folder's model is used. ``start`` is used from the
            first cut on, and not before this step.
        decay_fraction: Part of the run, at its end, in which both weights fall linearly
            to 0; 0 for constant weights.
        top_k: Number of the teacher's most probable tokens that are kept for each
            token, with all others as one outcome. They are computed once for each row
            and kept in the cache. 0 uses the whole distribution in every step.
        cache_limit_mb: Largest size of these outcomes in the cache, in megabytes. It
            may change when a run continues.
    """

    teacher: str = ""
    architecture: str | dict | list = ""
    weight: float = 0.5
    hidden_weight: float = 0.0
    temperature: float = 1.0
    first_step: int = 0
    decay_fraction: float = 0.0
    top_k: int = 0
    cache_limit_mb: float = 10_000.0

    def __post_init__(self):
        """Refuses values from which nothing can be learned."""
        for name in ("weight", "decay_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"config.distill.{name}={value} must be from 0 to 1.")
        if not self.temperature > 0:
            raise ConfigError(
                f"config.distill.temperature={self.temperature} must be above 0."
            )
        for name in ("first_step", "hidden_weight", "top_k", "cache_limit_mb"):
            value = getattr(self, name)
            if value < 0:
                raise ConfigError(f"config.distill.{name}={value} must be 0 or more.")
        self._check_together()
        if not self.keeps_outcomes:
            return
        if self.hidden_weight:
            raise ConfigError(
                f"config.distill.top_k={self.top_k} keeps no hidden states, which "
                f"config.distill.hidden_weight={self.hidden_weight} compares. Set one "
                "of them to 0."
            )
        if self.teacher == START:
            raise ConfigError(
                f"config.distill.top_k={self.top_k} needs a teacher that is there from "
                "the beginning, not 'start'. Name the folder of a finished run, or set "
                "it to 0."
            )

    def _check_together(self) -> None:
        """Refuses settings that two models that learn together do not have."""
        if self.teacher != TOGETHER:
            if self.architecture:
                raise ConfigError(
                    "config.distill.architecture is the shape of a second model. Set "
                    "config.distill.teacher='together', or leave it out."
                )
            return
        for name in ("hidden_weight", "top_k", "first_step"):
            if getattr(self, name):
                raise ConfigError(
                    f"config.distill.{name}={getattr(self, name)} is for a teacher "
                    "that does not learn. Set it to 0 with "
                    "config.distill.teacher='together'."
                )

    @property
    def is_on(self) -> bool:
        """Whether there is a teacher with a weight."""
        return bool(self.teacher) and (self.weight > 0 or self.hidden_weight > 0)

    @property
    def aligns(self) -> bool:
        """Whether hidden states are compared, through maps that are learned."""
        return self.is_on and self.hidden_weight > 0

    @property
    def keeps_outcomes(self) -> bool:
        """Whether the teacher's k most probable tokens are read from the cache."""
        return self.is_on and self.top_k > 0

    @property
    def folder(self) -> str | None:
        """The run folder of the teacher, if it is one."""
        is_folder = self.teacher not in (START, TOGETHER)
        return self.teacher if self.is_on and is_folder else None

    @property
    def is_together(self) -> bool:
        """Whether a second model learns in the same steps."""
        return self.is_on and self.teacher == TOGETHER

    def strength(self, num_steps: int) -> optax.Schedule:
        """Returns what the weights are multiplied by, by step.

        Examples:
            >>> strength = DistillConfig(decay_fraction=0.5).strength(100)
            >>> [float(strength(step)) for step in (0, 50, 75, 100)]
            [1.0, 1.0, 0.5, 0.0]
        """
        if not self.decay_fraction:
            return optax.constant_schedule(1.0)
        length = max(round(self.decay_fraction * num_steps), 1)
        return optax.linear_schedule(1.0, 0.0, length, num_steps - length)
