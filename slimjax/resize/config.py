"""The block ``config.resize``: when seams are taken, and what must stay."""

import dataclasses

from slimjax.budget.limits import UNITS, Limits
from slimjax.config import check_most
from slimjax.errors import ConfigError, suggest

MAX_SEAMS = 1000
"""Each seam compiles a step; no run can have so many."""


@dataclasses.dataclass(frozen=True)
class ResizeConfig(Limits):
    """When the model changes its size, and within which limits.

    What may be removed, and what must stay, are the settings of `Limits`.

    Attributes:
        first_step: Steps before the first seam; 0 means `every_steps`.
        every_steps: Steps between two seams; 0 means no seams, whatever `first_step`.
        max_seams: Largest number of seams.
        max_fraction: Largest part of a gate's units that one seam may close, unless the
            last seam could not meet the budget otherwise.
        max_kind_fraction: Part of one kind of sublayer, such as all attentions, by
            size; with several budgets in the measure in which it is most. If a seam
            would take more than this, it removes no whole sublayer of that kind,
            unless the budget could not be met otherwise.
        refit_batches: Batches on which the remaining weights are refitted at a seam by
            least squares, so that sublayers write what they wrote before; 0 for none.
        compile_allowance_flops: A seam is taken if it saves more training FLOPs than
            this until the end of the run.
    """

    first_step: int = 0
    every_steps: int = 0
    max_seams: int = 8
    max_fraction: float = 0.5
    max_kind_fraction: float = 0.5
    refit_batches: int = 0
    compile_allowance_flops: float = 0.0

    def __post_init__(self):
        """Refuses values that no run can have."""
        floors = dict(first_step=0, every_steps=0, max_seams=0, multiple=1)
        floors |= dict(min_kv_heads=0, min_mlp_dim=0, refit_batches=0, min_layers=0)
        floors |= dict(kv_heads_multiple=1, width_multiple=1, min_width=1)
        for name, floor in floors.items():
            if getattr(self, name) < floor:
                raise ConfigError(
                    f"config.resize.{name}={getattr(self, name)} must be {floor} or "
                    "more."
                )
        check_most(self, {"max_seams": MAX_SEAMS}, "config.resize")
        for unit in self.units:
            if unit not in UNITS:
                raise ConfigError(
                    f"config.resize.units: {unit!r} is unknown. {suggest(unit, UNITS)}"
                )
        for name in ("max_fraction", "max_kind_fraction"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ConfigError(
                    f"config.resize.{name}={value} must be above 0 and at most 1."
                )
        if not self.compile_allowance_flops >= 0:
            raise ConfigError(
                "config.resize.compile_allowance_flops="
                f"{self.compile_allowance_flops} must be 0 or more."
            )

    def seam_steps(self, num_steps: int) -> tuple[int, ...]:
        """Returns the steps before which a seam is due, in a run of `num_steps`.

        Examples:
            >>> ResizeConfig(first_step=20, every_steps=30, max_seams=3).seam_steps(100)
            (20, 50, 80)
        """
        if not self.every_steps:
            return ()
        first = self.first_step or self.every_steps
        return tuple(range(first, num_steps, self.every_steps))[: self.max_seams]

    def advise(self, num_steps: int) -> str:
        """Returns what to set in a run of `num_steps` that would have no seam.

        Args:
            num_steps: Of the run; 0 where they are not known yet.

        Examples:
            >>> ResizeConfig(first_step=5).advise(20)
            'set config.resize.every_steps to 1 or more, and below 20'
        """
        if not self.max_seams:
            return "set config.resize.max_seams to 1 or more"
        is_late = self.every_steps and self.first_step
        name = "first_step" if is_late else "every_steps"
        most = f", and below {num_steps}" if num_steps else ""
        return f"set config.resize.{name} to 1 or more{most}"

    def limits(self, *, cautious: bool) -> Limits:
        """Returns what must stay; a cautious seam also heeds `max_fraction`."""
        names = (field.name for field in dataclasses.fields(Limits))
        limits = Limits(**{name: getattr(self, name) for name in names})
        return limits if cautious else dataclasses.replace(limits, max_fraction=1.0)
