"""What a path may cost, dealt out to its pieces and decays in steps.

Each size k has a piece of the trunk, which ends at that size, and a decay, which
finishes it. They get steps in proportion to weights t_k and d_k, which grow as sizes
fall: a step of a small model costs little, and small models need time. The total is
given in FLOPs, 3 x forward for each step, and what seams spend on probes counts:

    c = (total - spent - probes to come) / sum_(j >= k) (t_j f_j + d_j g_j),

with f_j and g_j the expected FLOPs of a step of piece and decay. The next piece then
has ``floor(c t_k)`` steps. What the pieces so far have really spent is known by then,
so errors of the expectation even out, and the last decay spends what is left, up to a
step. All of it is a function of counted FLOPs, never of a clock.
"""

import dataclasses
import math

MIN_STEPS = 20
"""Least steps of a piece, or of a decay but the last one."""

POWER = 0.5
"""Steps grow as sizes fall to the power of minus this."""

START_WEIGHT = 5.0
"""Of the first piece, which begins from fresh weights: about a third of the total."""

DECAY_WEIGHT = 0.6
"""Of a decay, beside 1 for the piece before it."""

RATIO, MAX_SEAMS = 1.35, 4
"""By how much one seam may lower the size, and most seams of a piece."""

BEFORE_SEAMS = 0.15
"""Part of a piece that is expected to run at the size before it."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The total of a path, and the sizes that share it.

    Attributes:
        total: FLOPs of all pieces and decays.
        sizes: Sizes of the points, the largest first.
        start_size: Size of the model that the path starts from.
        start_flops: Training FLOPs of one of its steps.
        relief: By what factor a size may fall before units go: the bits at the start
            by the least bits, where bytes are counted.
    """

    total: float
    sizes: tuple[float, ...]
    start_size: float
    start_flops: float
    relief: float = 1.0

    def trunk_weight(self, k: int) -> float:
        """Returns t_k."""
        return self._grown(k) * (1.0 if k else START_WEIGHT)

    def decay_weight(self, k: int) -> float:
        """Returns d_k."""
        return self._grown(k) * DECAY_WEIGHT

    def trunk_steps(self, k: int, spent: float, now: float, probes: float) -> int:
        """Returns the steps of piece k.

        Args:
            k: Its number.
            spent: FLOPs of all pieces and decays before it.
            now: FLOPs of a step of the model that it starts from.
            probes: FLOPs that a piece is expected to spend at its seams.
        """
        left = self.total - spent - probes * (len(self.sizes) - k)
        weight = self.trunk_weight(k)
        return _floor(left / self._cost_from(k, now) * weight)

    def decay_steps(self, k: int, spent: float, now: float, probes: float) -> int:
        """Returns the steps of the decay from size k, whose piece is done by now."""
        left = self.total - spent - probes * (len(self.sizes) - k - 1)
        if k + 1 == len(self.sizes):  # A short one, rather than a path that costs more.
            return _floor(left / now, least=1)
        weight = self.decay_weight(k)
        return _floor(left / (weight * now + self._cost_from(k + 1, now)) * weight)

    def least_total(self) -> float:
        """Returns the FLOPs at which all pieces are expected to have `MIN_STEPS`."""
        count = range(len(self.sizes))
        weights = [w(k) for k in count for w in (self.trunk_weight, self.decay_weight)]
        return MIN_STEPS / min(weights) * self._cost_from(0, self.start_flops)

    def _grown(self, k: int) -> float:
        return (self.sizes[0] / self.sizes[k]) ** POWER

    def _cost_from(self, k: int, now: float) -> float:
        """Returns the expected FLOPs of pieces and decays from k on, at c = 1."""
        before = self._part(k - 1) if k else 1.0
        flops = [now * self._part(j) / before for j in range(k, len(self.sizes))]
        cost = 0.0
        for j, after in enumerate(flops, start=k):
            piece = now  # The next one, as if nothing went, so that it is affordable.
            if j > k:
                before = flops[j - k - 1]
                piece = BEFORE_SEAMS * before + (1 - BEFORE_SEAMS) * after
            cost += self.trunk_weight(j) * piece + self.decay_weight(j) * after
        return cost

    def _part(self, k: int) -> float:
        """Returns the expected FLOPs of size k, as a part of the start's."""
        return min(1.0, self.sizes[k] / self.start_size * self.relief)


def geometric_sizes(largest: float, smallest: float, num: int) -> tuple[float, ...]:
    """Returns sizes in even ratios, the largest first, four digits each, rounded down.

    Examples:
        >>> geometric_sizes(123456.0, 12345.6, 3)
        (123456.0, 39040.0, 12340.0)
    """
    ratio = (smallest / largest) ** (1 / (num - 1))
    return (largest, *(_four_digits(largest * ratio**k) for k in range(1, num)))


def round_up(size: float) -> float:
    """Returns a size with four digits, not below it.

    Examples:
        >>> round_up(12341.0), round_up(12340.0)
        (12350.0, 12340.0)
    """
    down = _four_digits(size)
    return down if down >= size else down + 10.0 ** (math.floor(math.log10(size)) - 3)


def _four_digits(size: float) -> float:
    scale = 10.0 ** (3 - math.floor(math.log10(size)))
    return math.floor(size * scale * (1 + 1e-12)) / scale


def _floor(steps: float, least: int = MIN_STEPS) -> int:
    return max(least, math.floor(steps * (1 + 1e-9)))


def seam_steps(start: int, steps: int, ratio: float, *, is_first: bool) -> tuple:
    """Returns the first seam of a piece, the steps between two, and their number.

    The piece that begins from fresh weights learns before it is cut.

    Args:
        start: Steps before the piece.
        steps: Its steps.
        ratio: The size before it, by the size at its end.
        is_first: Whether it is the first piece.
    """
    first, between = (0.4, 0.12) if is_first else (0.05, 0.1)
    number = min(max(math.ceil(math.log(ratio) / math.log(RATIO)), 1), MAX_SEAMS)
    return (
        start + max(1, int(first * steps)),
        max(1, int(between * steps)),
        number,
    )
