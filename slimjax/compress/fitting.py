"""Least squares for a weight, from sums over positions.

W' = argmin  E |h W' - t|^2 + ridge |W' - W|^2
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from slimjax.compress.removal import mean_square

RIDGE = 0.002
"""Added to the diagonal of the moment, as a part of its mean."""


@dataclasses.dataclass
class Fit:
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

    @property
    def moment(self) -> Float[np.ndarray, "I I"]:
        """``E[h^T h]``, float32."""
        return np.asarray(self.squares, np.float32) / np.float32(self.count)

    def solve(
        self, weight: Float[np.ndarray, "I D"], ridge: float, *, has_bias: bool
    ) -> tuple[Float[np.ndarray, "I D"], Float[np.ndarray, " D"]]:
        """Returns the weight and the bias with the least error.

        Without a bias, that is 0.

        Args:
            weight: Where the ridge is centred.
            ridge: Added to the diagonal of the moment, as a part of its mean.
            has_bias: Whether there is a bias.
        """
        sums = self.squares, self.cross, self.read, self.target
        squares, cross, read, target = (
            np.asarray(own, np.float64) / self.count for own in sums
        )
        if has_bias:
            squares = squares - np.outer(read, read)
            cross = cross - np.outer(read, target)
        fitted = fit(squares, cross, weight, ridge)
        bias = target - read @ fitted if has_bias else np.zeros(weight.shape[1])
        return fitted.astype(np.float32), bias.astype(np.float32)


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
    weight, mean = np.asarray(weight, np.float64), mean_square(squares)
    damped = squares + (ridge * mean + 1e-12) * np.eye(len(squares))
    return weight + np.linalg.solve(damped, cross - squares @ weight)
