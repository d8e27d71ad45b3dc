"""Which checkpoints stay: the newest, the best, and one every so many steps."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Kept:
    """What the choice is made by.

    Attributes:
        name: The checkpoint's name, ``STEP.SEAM``.
        error: Validation error, nats per token; None where it was not measured.
    """

    name: str
    error: float | None = None

    step = property(lambda self: int(self.name.split(".")[0]))
    seam = property(lambda self: int(self.name.split(".")[1]))


@dataclasses.dataclass(frozen=True)
class Keep:
    """How many checkpoints stay; all others go, so that disk usage is bounded.

    Attributes:
        latest: How many of the newest.
        best: How many of those with the least validation error, among the checkpoints
            since the last seam: those before it are of another model.
        every_steps: Those whose step is a multiple of it stay for good; 0 for none.
    """

    latest: int = 2
    best: int = 1
    every_steps: int = 0

    def choose(self, found: Sequence[Kept]) -> set[str]:
        """Returns the names of those that stay.

        An error that is not finite is never the best.

        Examples:
            >>> runs = [Kept("00000001.00", 2.0), Kept("00000002.00", 1.0)]
            >>> runs += [Kept("00000003.00", float("nan")), Kept("00000004.00", 3.0)]
            >>> sorted(Keep(latest=1).choose(runs))
            ['00000002.00', '00000004.00']
        """
        ordered = sorted(found, key=lambda one: (one.step, one.seam))
        stay = ordered[-self.latest :]
        newest_seam = max((one.seam for one in ordered), default=0)
        measured = [
            one
            for one in ordered
            if one.error is not None
            and math.isfinite(one.error)
            and one.seam == newest_seam
        ]
        stay += sorted(measured, key=lambda one: one.error or 0.0)[: self.best]
        if self.every_steps:
            stay += [one for one in ordered if one.step % self.every_steps == 0]
        return {one.name for one in stay}
