"""The block ``config.resize``: when seams are taken, and what must stay."""

import dataclasses

from slimjax.errors import ConfigError, suggest
from slimjax.objective.limits import UNITS, Limits


@dataclasses.dataclass(frozen=True)
class ResizeConfig:
    """When the model changes its size, and within which limits.

    Attributes:
        first_step: Step of the first seam; 0 means `every_steps`.
        every_steps: Steps from one seam to the next; 0 means never.
        max_seams: Most seams a run takes.
        units: Kinds of units that may be removed: heads (query heads), kv_heads (KV
            groups), mlp, sublayer, layer, and embed, the channels of the residual
            streams. These are left out unless named: each is a row or column of every
            weight, which other units and strategies are not prepared for at all prices.
        frozen: Patterns of parts that stay, dotted paths of modules or gates such as
            ``layer_0``, ``*.attention`` or ``layer_1.mlp.*``.
        multiple: MLP widths stay multiples of this.
        kv_heads_multiple: Numbers of KV heads stay multiples of this, such as the
            devices that share them; query heads follow their KV heads.
        width_multiple: The residual width stays a multiple of this.
        uniform: All layers of a tower keep the same shape, and none is removed.
        min_kv_heads: Least KV heads a layer; 0 lets attention go as a whole.
        min_mlp_dim: Least MLP width; 0 lets the MLP go as a whole.
        min_width: Least residual width.
        min_layers: Layers of each tower that keep a sublayer, at least.
        max_fraction: The part of a gate's units that one seam may close, unless the
            last seam could not meet the budget so.
        max_kind_fraction: The part of one kind of sublayer, such as all attentions, by
            size, over which one seam lets no sublayer go as a whole; unless the
            budget could not be met so.
        refit_batches: Batches on which what stays learns, at a seam, to write what the
            whole wrote; 0 for none.
        compile_allowance_flops: A seam is taken when it saves more training FLOPs
            than this until the end of the run.
    """

    first_step: int = 0
    every_steps: int = 0
    max_seams: int = 8
    units: tuple[str, ...] = UNITS[:-1]
    frozen: tuple[str, ...] = ()
    multiple: int = 1
    kv_heads_multiple: int = 1
    width_multiple: int = 1
    uniform: bool = False
    min_kv_heads: int = 0
    min_mlp_dim: int = 0
    min_width: int = 1
    min_layers: int = 0
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

    def limits(self, *, cautious: bool) -> Limits:
        """Returns what must stay; a cautious seam also heeds `max_fraction`."""
        names = (field.name for field in dataclasses.fields(Limits))
        limits = Limits(**{name: getattr(self, name) for name in names})
        return limits if cautious else dataclasses.replace(limits, max_fraction=1.0)
