"""From gates to what stays."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from slimjax.nn.gates import NESTED, SUBLAYER, axis_gates
from slimjax.trees import AxisNames, Path


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a cut keeps.

    Attributes:
        is_open: For each gate, which of its units stay.
        gone: Modules that go as a whole.
    """

    is_open: Mapping[Path, np.ndarray]
    gone: frozenset[Path]

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return all(np.all(units) for units in self.is_open.values())

    def drops(self, path: Path) -> bool:
        """Whether the leaf at `path` stands in a module that goes."""
        return any(path[:depth] in self.gone for depth in range(len(path)))

    def indices(
        self, path: Path, shape: tuple[int, ...], axes: AxisNames
    ) -> list[np.ndarray | None]:
        """Returns what stays along each axis of a leaf; None for all of it."""
        masks = (
            axis_gates(path, name, length, self.is_open)
            for name, length in zip(axes, shape, strict=True)
        )
        return [None if mask is None else np.flatnonzero(mask) for mask in masks]

    def count_closed(self) -> dict[str, int]:
        """Returns the number of units that go, by the axis of their gate."""
        counts = dict.fromkeys(sorted({path[-1] for path in self.is_open}), 0)
        for path, units in self.is_open.items():
            counts[path[-1]] += int(np.sum(~units))
        return counts


def make_plan(gates: Mapping[Path, np.ndarray]) -> Plan:
    """Returns the plan that keeps every unit whose gate is above 0.

    A closed group closes the heads in it; a module with no open unit left along one
    of its axes goes as a whole.

    Args:
        gates: All gates of the model, by path.

    Raises:
        ValueError: If the groups of a layer would keep different numbers of heads.

    Examples:
        >>> plan = make_plan({("mlp", "mlp"): np.array([1.0, 0.0, 0.5])})
        >>> plan.indices(("mlp", "down"), (3, 8), ("mlp", "embed"))
        [array([0, 2]), None]
    """
    is_open, gone = {}, set()
    for path, gate in gates.items():
        units = np.asarray(gate) > 0
        if path[-1] in NESTED:
            units = _close_with_groups(path, units, gates)
        if not units.any():
            gone.add(path[:-1])
        is_open[path] = units
    for path in is_open:
        if path[-1] == SUBLAYER and path[:-1] in gone:
            is_open[path] = np.zeros((), bool)
    return Plan(is_open=is_open, gone=frozenset(gone))


def _close_with_groups(
    path: Path, units: np.ndarray, gates: Mapping[Path, np.ndarray]
) -> np.ndarray:
    groups = np.asarray(gates[(*path[:-1], NESTED[path[-1]])]) > 0
    units = units.reshape(len(groups), -1) & groups[:, None]
    if len(set(units.sum(1)[groups])) > 1:
        raise ValueError(f"{path}: groups would keep unequal numbers of heads")
    return units.reshape(-1)
