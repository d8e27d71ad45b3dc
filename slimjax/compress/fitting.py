"""Least squares for a weight, from sums over positions.

    W' = argmin  E |h W' - t|^2 + ridge |W' - W|^2

The ridge is chosen by cross-validation over two halves of the text: what is fitted on
one half is compared with the given weight on the other one. Where no fit is better on
text that it has not seen, the weight stays as it is. So a weight of many inputs is not
fitted to the noise of a short text.

References:
    Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", 1974.
    Hoerl and Kennard, "Ridge Regression", 1970.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from slimjax.compress.removal import mean_square

RIDGES = (0.002, 0.02, 0.2)
"""Added to the diagonal of the moment, as parts of its mean; one of them is chosen."""

NUM_COMPARED = 64
"""Outputs of a weight, spread over all, on which ridges are compared."""


@dataclasses.dataclass
class Sums:
    """Sums over positions from which a weight is fitted.

    Attributes:
        squares: Of ``h^T h``.
        cross: Of ``h^T t``.
        read: Of h.
        target: Of t.
        count: Number of positions.
    """

    squares: Any = 0.0
    cross: Any = 0.0
    read: Any = 0.0
    target: Any = 0.0
    count: float = 0.0

    def add(
        self, hidden: Float[np.ndarray, "P I"], target: Float[np.ndarray, "P D"]
    ) -> None:
        """Adds some positions: what the weight reads, and what it should write."""
        self.squares = self.squares + hidden.T @ hidden
        self.cross = self.cross + hidden.T @ target
        self.read = self.read + hidden.sum(0)
        self.target = self.target + target.sum(0)
        self.count += len(hidden)

    def __add__(self, other: "Sums") -> "Sums":
        """Returns the sums over the positions of both."""
        names = [field.name for field in dataclasses.fields(self)]
        return Sums(*(getattr(self, name) + getattr(other, name) for name in names))

    def means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the means of ``h^T h``, ``h^T t``, h and t, float64."""
        sums = self.squares, self.cross, self.read, self.target
        first, second, third, last = (np.asarray(s, np.float64) for s in sums)
        count = max(self.count, 1.0)
        return first / count, second / count, third / count, last / count

    def moments(self, *, has_bias: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns ``E[h^T h]`` and ``E[h^T t]``, about the means if there is a bias."""
        squares, cross, read, target = self.means()
        if has_bias:
            squares = squares - np.outer(read, read)
            cross = cross - np.outer(read, target)
        return squares, cross


class Fit:
    """A weight that is fitted to what it should write.

    Attributes:
        halves: Sums over two halves of the text.
    """

    def __init__(self):
        """Has read nothing yet."""
        self.halves = Sums(), Sums()

    def add(
        self, hidden: Float[np.ndarray, "P I"], target: Float[np.ndarray, "P D"]
    ) -> None:
        """Adds some positions, half of them to each half."""
        middle = len(hidden) // 2
        for half, part in zip(
            self.halves, (slice(0, middle), slice(middle, None)), strict=True
        ):
            half.add(hidden[part], target[part])

    @property
    def sums(self) -> Sums:
        """The sums over all positions."""
        return self.halves[0] + self.halves[1]

    @property
    def moment(self) -> Float[np.ndarray, "I I"]:
        """``E[h^T h]``, float32."""
        return self.sums.means()[0].astype(np.float32)

    def solve(
        self,
        weight: Float[np.ndarray, "I D"],
        ridges: Sequence[float] = RIDGES,
        *,
        has_bias: bool,
    ) -> tuple[Float[np.ndarray, "I D"], Float[np.ndarray, " D"]]:
        """Returns the weight and the bias with the least error.

        Without a bias, that is 0.

        Args:
            weight: Where the ridge is centred.
            ridges: Added to the diagonal of the moment, as parts of its mean. Of
                several ones the best is chosen, or none and the weight is kept; a
                single one is used.
            has_bias: Whether there is a bias.
        """
        sums = self.sums
        _, _, read, target = sums.means()
        ridge = ridges[0]
        if len(ridges) > 1:
            ridge = self.choose(weight, ridges, has_bias=has_bias)
        fitted = np.asarray(weight, np.float64)
        if ridge is not None:
            fitted = fit(*sums.moments(has_bias=has_bias), weight, ridge)
        bias = target - read @ fitted if has_bias else np.zeros(weight.shape[1])
        return fitted.astype(np.float32), bias.astype(np.float32)

    def choose(
        self,
        weight: Float[np.ndarray, "I D"],
        ridges: Sequence[float] = RIDGES,
        *,
        has_bias: bool,
    ) -> float | None:
        """Returns the ridge whose fits are best on the half that they have not seen.

        None if the given weight is better than all of them.

        Args:
            weight: Where the ridge is centred.
            ridges: As parts of the mean of the diagonal of the moment.
            has_bias: Whether there is a bias.
        """
        moments = [half.moments(has_bias=has_bias) for half in self.halves]
        own = np.asarray(weight, np.float64)
        few = slice(None, None, max(1, own.shape[1] // NUM_COMPARED))
        parts = [(a, b[:, few] - a @ own[:, few]) for a, b in moments]
        gains = np.zeros(len(ridges))
        for (squares, left), unseen in (parts, parts[::-1]):
            for i, ridge in enumerate(ridges):
                gains[i] += _gain(_change(squares, left, ridge), *unseen)
        return ridges[int(gains.argmax())] if gains.max() > 0 else None


def fit(
    squares: Float[np.ndarray, "I I"],
    cross: Float[np.ndarray, "I D"],
    weight: Float[np.ndarray, "I D"],
    ridge: float,
) -> Float[np.ndarray, "I D"]:
    """Returns ``argmin E |h W' - t|^2 + ridge mean(diag) |W' - W|^2``.

    Args:
        squares: ``E[h^T h]``.
        cross: ``E[h^T t]``.
        weight: W.
        ridge: As a part of the mean of the diagonal of `squares`.

    Examples:
        >>> twice = fit(np.eye(2), 2 * np.eye(2), np.eye(2), ridge=0.0)
        >>> twice.round(6)
        array([[2., 0.],
               [0., 2.]])
    """
    weight = np.asarray(weight, np.float64)
    return weight + _change(squares, cross - squares @ weight, ridge)


def _change(squares: np.ndarray, left: np.ndarray, ridge: float) -> np.ndarray:
    """Returns the change of a weight, from the moment of h and what W leaves over."""
    damping = ridge * mean_square(squares) + 1e-12
    return np.linalg.solve(squares + damping * np.eye(len(squares)), left)


def _gain(change: np.ndarray, squares: np.ndarray, left: np.ndarray) -> float:
    """Returns by how much a change of the weight lowers the squared error."""
    return float(np.sum(change * (2.0 * left - squares @ change)))
