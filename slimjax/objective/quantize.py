"""The block ``config.quantize``: bits of weights, given or to be chosen."""

import dataclasses

from slimjax.errors import ConfigError, suggest
from slimjax.nn.grids import GROUP_AXES, UNIT, Grid
from slimjax.nn.quantize import FULL, STATES


@dataclasses.dataclass(frozen=True)
class QuantizeConfig:
    """The bits in which units are stored, and which weights share a step.

    Weights with one axis, the scales of norms, keep 8 bits or more.

    Attributes:
        bits: One number: all units have it, from `first_step` on. Several numbers: all
            units start with the largest, and seams choose for each unit, at the price
            of bytes.
        group_size: Weights of a row that share a step between levels; 0 for the whole
            row.
        group_axis: What a row is. ``unit``: what one unit (a head, a hidden unit)
            holds. ``input``: what one output reads, so that groups lie along inputs;
            for ``slimjax compress``.
        minimum: Whether the levels of a group lie around a number of its own, and not
            around zero; it takes 16 bits more; for ``slimjax compress``.
        first_step: Step from which the one number is used; before it, weights are not
            rounded.
    """

    bits: tuple[int, ...] = (FULL,)
    group_size: int = 0
    group_axis: str = UNIT
    minimum: bool = False
    first_step: int = 0

    def __post_init__(self):
        """Refuses bits that no unit can have."""
        wrong = sorted(set(self.bits) - set(STATES))
        if wrong or not self.bits or len(set(self.bits)) < len(self.bits):
            raise ConfigError(
                f"config.quantize.bits={list(self.bits)} must be one or several of "
                f"{list(STATES)}, each once."
            )
        for name in ("group_size", "first_step"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"config.quantize.{name}={getattr(self, name)} must be 0 or more."
                )
        if self.group_axis not in GROUP_AXES:
            raise ConfigError(
                f"config.quantize.group_axis={self.group_axis!r} is unknown. "
                f"{suggest(self.group_axis, GROUP_AXES)}"
            )
        if self.first_step and self.chooses:
            raise ConfigError(
                f"config.quantize.first_step={self.first_step} is for one number of "
                f"bits; with config.quantize.bits={list(self.bits)} seams choose."
            )

    @property
    def is_on(self) -> bool:
        """Whether any unit may have fewer bits than bfloat16."""
        return min(self.bits) < FULL

    @property
    def grid(self) -> Grid:
        """Which weights share a step, and where levels lie."""
        return Grid(self.group_size, self.group_axis, self.minimum)

    @property
    def chooses(self) -> bool:
        """Whether seams choose the bits of units."""
        return len(self.bits) > 1

    @property
    def start(self) -> int:
        """Bits of every unit before the first seam."""
        return max(self.bits)
