"""From gates to a change of size: where each unit of the new model comes from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from slimjax.nn.gates import NESTED, nearest_gate
from slimjax.trees import AxisNames, Path

NEW = -1
"""The origin of a unit that was not there before."""


@dataclasses.dataclass(frozen=True)
class Change:
    """What a seam does to the shape of a model: units are removed, or added.

    Attributes:
        origin: For each gate, the old unit of each new one, `NEW` for an added unit;
            int64 [new units], or [] for the gate of a module.
        sizes: For each gate, its shape before.
        gone: Modules that are removed as a whole.
    """

    origin: Mapping[Path, np.ndarray]
    sizes: Mapping[Path, tuple[int, ...]]
    gone: frozenset[Path]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        same = lambda path: np.array_equal(
            self.origin[path], _all_units(self.sizes[path])
        )
        return not self.gone and all(same(path) for path in self.origin)

    @property
    def is_open(self) -> dict[Path, np.ndarray]:
        """For each gate, which of its old units stay, booleans of its old shape."""
        found = {}
        for path, shape in self.sizes.items():
            stays = np.isin(_all_units(shape), self.origin[path])
            found[path] = stays if shape else np.array(path[:-1] not in self.gone)
        return found

    def drops(self, path: Path) -> bool:
        """Whether the leaf at `path` stands in a module that is removed."""
        return any(path[:depth] in self.gone for depth in range(len(path)))

    def indices(
        self, path: Path, shape: tuple[int, ...], axes: AxisNames
    ) -> list[np.ndarray | None]:
        """Returns the origin of what stands along each axis of a leaf.

        None where nothing governs the axis: all of it stays.
        """
        pairs = zip(axes, shape, strict=True)
        return [self._along(path, name, length) for name, length in pairs]

    def _along(self, path: Path, axis: str, length: int) -> np.ndarray | None:
        own = nearest_gate(path, axis, self.origin)
        if own is not None:
            return self.origin[own]
        group = nearest_gate(path, NESTED.get(axis, ""), self.origin)
        if group is None:
            return None
        members = np.arange(length).reshape(self.sizes[group][0], -1)
        groups = self.origin[group]
        is_new = (groups == NEW)[:, None]
        return np.where(is_new, NEW, members[groups]).reshape(-1)

    def count_closed(self) -> dict[str, int]:
        """Returns the number of units that are removed, by the axis of their gate."""
        counts = dict.fromkeys(sorted({path[-1] for path in self.origin}), 0)
        for path, units in self.is_open.items():
            counts[path[-1]] += int(np.sum(~units))
        return counts


def make_plan(gates: Mapping[Path, np.ndarray]) -> Change:
    """Returns the change that keeps every unit whose gate is above 0.

    A closed group closes the heads in it; a module with no open unit left along one
    of its axes is removed as a whole.

    Args:
        gates: All gates of the model, by path.

    Raises:
        ValueError: If the groups of a layer would keep different numbers of heads.

    Examples:
        >>> change = make_plan({("mlp", "mlp"): np.array([1.0, 0.0, 0.5])})
        >>> change.indices(("mlp", "down"), (3, 8), ("mlp", "embed"))
        [array([0, 2]), None]
    """
    origin, sizes, gone = {}, {}, set()
    for path, gate in gates.items():
        units = np.asarray(gate) > 0
        if path[-1] in NESTED:
            units = _close_with_groups(path, units, gates)
        if not units.any():
            gone.add(path[:-1])
        sizes[path] = units.shape
        origin[path] = np.flatnonzero(units) if units.shape else np.zeros((), int)
    return Change(origin, sizes, frozenset(gone))


def _all_units(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(shape[0]) if shape else np.zeros((), int)


def _close_with_groups(
    path: Path, units: np.ndarray, gates: Mapping[Path, np.ndarray]
) -> np.ndarray:
    groups = np.asarray(gates[(*path[:-1], NESTED[path[-1]])]) > 0
    units = units.reshape(len(groups), -1) & groups[:, None]
    if len(set(units.sum(1)[groups])) > 1:
        raise ValueError(f"{path}: groups would keep unequal numbers of heads")
    return units.reshape(-1)
