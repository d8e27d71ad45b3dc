"""Batches in which rows of one image stand together, so that it is read once for them.

With k rows for each image, a group is k rows of one image, and an epoch has
``max(1, n // k)`` groups of an image with n rows: k of its rows are drawn anew each
time, and an image with fewer gives some of them twice. As elsewhere, which rows a step
takes is a function of the step and the seed.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Int, Int64

TOGETHER = 3
"""A number of the seed of these orders, which no other order has."""


class RowsOfImages:
    """Chooses rows of steps, k of one image at a time.

    Attributes:
        per_image: Rows that stand together, k.
    """

    def __init__(self, images: Int[np.ndarray, " R"], per_image: int):
        """Counts the rows of each image.

        Args:
            images: Number of the image of each row. Only which ones are equal matters.
            per_image: k.
        """
        self.per_image = per_image
        _, firsts, found, counts = np.unique(images, True, True, True)
        order = np.argsort(firsts)  # By first rows: the numbers themselves may change.
        self._images, self._counts = np.argsort(order)[found], counts[order]
        self._order = lru_cache(maxsize=2)(self._draw)

    def choose(self, step: int, batch_size: int, seed: int) -> Int64[np.ndarray, " B"]:
        """Returns which rows a step takes.

        Args:
            step: Number of the step, from 0.
            batch_size: Rows a step, B, a multiple of k.
            seed: Any whole number.

        Examples:
            >>> rows = RowsOfImages(np.array([7, 5, 7, 5, 5, 7]), per_image=3)
            >>> sorted(rows.choose(0, 6, seed=1)[:3].tolist())
            [0, 2, 5]
        """
        per_step = batch_size // self.per_image
        numbers = int(step) * per_step + np.arange(per_step, dtype=np.int64)
        epochs, places = np.divmod(numbers, len(self._order(seed, 0)))
        groups = [
            self._order(seed, int(epoch))[place]
            for epoch, place in zip(epochs, places, strict=True)
        ]
        return np.concatenate(groups)

    def _draw(self, seed: int, epoch: int) -> Int64[np.ndarray, "G k"]:
        """Returns the groups of an epoch, in order."""
        generator = np.random.default_rng([seed % 2**64, epoch, TOGETHER])
        drawn = generator.permutation(len(self._images))
        rows = drawn[np.argsort(self._images[drawn], kind="stable")]
        firsts = np.cumsum(self._counts) - self._counts
        parts = np.maximum(self._counts // self.per_image, 1)
        image = np.repeat(np.arange(len(parts)), parts)
        part = np.arange(len(image)) - np.repeat(np.cumsum(parts) - parts, parts)
        within = part[:, None] * self.per_image + np.arange(self.per_image)
        groups = rows[firsts[image][:, None] + within % self._counts[image][:, None]]
        return generator.permutation(groups)
