"""What each number of units less costs each sublayer, in nats a target.

All curves are in nats, so that one price serves all layers and kinds. Each is computed
for one sublayer at a time, all others being whole; so the sum of costs is too low where
many things go, but the order is right.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from slimjax.budget.limits import Limits
from slimjax.compress.moments import Moments
from slimjax.compress.removal import Removal, remove_groups, remove_units
from slimjax.compress.walk import WRITERS
from slimjax.nn.gates import NESTED, SUBLAYER
from slimjax.trees import Path

SCORED = 16
"""Most inputs that are chosen without the inverse being computed anew."""

GROUPS = {"attention": "kv_heads", "cross": "kv_heads", "mlp": "mlp"}
"""The gate of each sublayer whose units go."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """What may be made of one sublayer.

    Attributes:
        gate: The gate of its units.
        closed: Numbers of the units that go at each point; none at the first.
        nats: What each point costs.
        is_whole: Whether the sublayer goes as a whole at each point.
        left: Part of what rounding costs that is left at each point; None for as much
            as units are left.
    """

    gate: Path
    closed: tuple[np.ndarray, ...]
    nats: np.ndarray
    is_whole: np.ndarray
    left: np.ndarray | None = None

    def patch(self, point: int, gates: Mapping[Path, np.ndarray]) -> dict:
        """Returns the gates that close what goes at a point.

        Args:
            point: Its number.
            gates: All gates, open.
        """
        own = gates[self.gate].copy()
        own[self.closed[point]] = 0.0
        patch = {self.gate: own}
        for inner, outer in NESTED.items():
            path = (*self.gate[:-1], inner)
            if outer == self.gate[-1] and path in gates:
                patch[path] = gates[path] * own.repeat(len(gates[path]) // len(own))
        whole = (*self.gate[:-1], SUBLAYER)
        if self.is_whole[point] and whole in gates:
            patch[whole] = np.zeros(())
        return patch


def make_curves(
    weights: Mapping[Path, np.ndarray],
    gates: Mapping[Path, np.ndarray],
    moments: Moments,
    limits: Limits,
) -> list[Curve]:
    """Returns the curves of all sublayers from which something may go.

    Args:
        weights: The weights, by path.
        gates: The gates, open, by path.
        moments: See `slimjax.compress.moments`.
        limits: What may be removed, and what must stay.
    """
    curves = []
    for gate in sorted(gates, key=_in_order):
        module = gate[:-1]
        if not module or gate[-1] != GROUPS.get(module[-1]):
            continue
        if not limits.may_close_units(gate) or limits.is_frozen(gate):
            continue
        sizes = _steps(len(gates[gate]), gate[-1], limits)
        if sizes:
            curves.append(_make_curve(gate, sizes, weights, gates, moments))
    return curves


def _in_order(path: Path) -> tuple:
    return tuple((len(part), part) for part in path)


def _steps(num_units: int, axis: str, limits: Limits) -> list[int]:
    """Returns how many units go at each point of a curve."""
    block, least = limits.block(axis), limits.least(axis)
    may_go = SUBLAYER in limits.units and not least
    sizes, odd = [], num_units % block
    left = num_units
    for size in ([odd] if odd else []) + [block] * (num_units // block):
        left -= size
        if left < least or (left == 0 and not may_go):
            break
        sizes.append(size)
    return sizes


def _make_curve(
    gate: Path,
    sizes: list[int],
    weights: Mapping[Path, np.ndarray],
    gates: Mapping[Path, np.ndarray],
    moments: Moments,
) -> Curve:
    module, num_units = gate[:-1], len(gates[gate])
    path = (*module, WRITERS[module[-1]])
    weight = weights[path].reshape(-1, weights[path].shape[-1])
    moment = moments.inputs[path]
    if (*module, f"{path[-1]}_bias") in weights:  # It takes over what is lost in mean.
        moment = moment - np.outer(moments.means[path], moments.means[path])
    removal = Removal(moment, weight, moments.slopes[path])
    if gate[-1] == "mlp":
        found, ends = remove_units(removal, _scored(sizes)), np.cumsum([0, *sizes])
        counts = np.array([len(units) for units in found.sets])
        points = np.flatnonzero(np.isin(counts, ends))
    else:
        found = remove_groups(removal, sizes, num_units)
        points = np.arange(len(found.sets))
    closed = tuple(found.sets[point] for point in points)
    is_whole = np.array([len(units) == num_units for units in closed])
    return Curve(gate, closed, found.nats[points], is_whole)


def _scored(sizes: list[int]) -> list[int]:
    """Returns the sizes of steps, in parts of at most `SCORED`.

    Examples:
        >>> _scored([8, 32, 40])
        [8, 16, 16, 16, 16, 8]
    """
    parts = []
    for size in sizes:
        parts += [SCORED] * (size // SCORED)
        parts += [size % SCORED] if size % SCORED else []
    return parts
