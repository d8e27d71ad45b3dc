"""The shape of pictures, and of what a convolution or patches make of them.

No array is made here: sizes are checked before anything is computed.
"""

import dataclasses

from slimjax.errors import ConfigError

Grid = tuple[int, int]
"""Height and width, in places."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a convolution: filters, and what follows them.

    Attributes:
        filters: Filters, which are the channels of what the stage makes.
        kernel: Height and width of a filter, in places.
        stride: Places from one use of a filter to the next.
        pool: Height and width of the squares that become one place; 1 for none.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1


@dataclasses.dataclass(frozen=True)
class Picture:
    """What a tower reads, and the stages or patches that read it.

    Attributes:
        height: Height of a picture, in pixels.
        width: Width of it, in pixels.
        colors: Numbers of a pixel: 1 for grey, 3 for colours.
        stages: Stages of a convolution; none for patches.
        patch: Height and width of patches, in pixels; 0 for a convolution.
        norm: Kind of the norm of filters, of `slimjax.nn.implementations.IMAGE_NORMS`.
        pool: How a square of places becomes one: max or mean.
        activation: Name of the activation of filters.
    """

    height: int
    width: int
    colors: int
    stages: tuple[Stage, ...] = ()
    patch: int = 0
    norm: str = "rms"
    pool: str = "max"
    activation: str = "relu"

    def __post_init__(self):
        """Takes what a file holds."""
        stages = (s if isinstance(s, Stage) else Stage(**s) for s in self.stages)
        object.__setattr__(self, "stages", tuple(stages))

    @property
    def grids(self) -> list[Grid]:
        """Places at which the filters of each stage are used, or those of patches.

        Examples:
            >>> stages = Stage(8, pool=2), Stage(16, stride=2)
            >>> Picture(28, 20, 1, stages).grids, Picture(28, 20, 3, patch=4).grids
            ([(28, 20), (7, 5)], [(7, 5)])
        """
        if self.patch:
            return [(self.height // self.patch, self.width // self.patch)]
        found, (height, width) = [], (self.height, self.width)
        for stage in self.stages:
            height, width = height // stage.stride, width // stage.stride
            found.append((height, width))
            height, width = height // stage.pool, width // stage.pool
        return found

    @property
    def grid(self) -> Grid:
        """Places that the residual stream has."""
        height, width = self.grids[-1]
        last = 1 if self.patch else self.stages[-1].pool
        return height // last, width // last

    @property
    def num_positions(self) -> int:
        """Positions of the residual stream.

        Examples:
            >>> Picture(28, 20, 1, (Stage(8, pool=2),)).num_positions
            140
        """
        height, width = self.grid
        return height * width

    def check(self) -> None:
        """Raises `ConfigError` where patches, strides or pools do not divide a size."""
        size = self.height, self.width
        if self.patch:
            _check_divides(size, self.patch, "config.model.patch_size")
        for number, stage in enumerate(self.stages):
            for name in ("stride", "pool"):
                value = getattr(stage, name)
                where = f"config.model.{name}s: {value} of stage {number}"
                _check_divides(size, value, where)
                size = size[0] // value, size[1] // value


def _check_divides(size: Grid, divisor: int, where: str) -> None:
    if any(side % divisor or side < divisor for side in size):
        where = where if ":" in where else f"{where}={divisor}"
        raise ConfigError(
            f"{where} does not divide {size[0]} x {size[1]} places. Change it, or "
            "config.data.image_size."
        )
