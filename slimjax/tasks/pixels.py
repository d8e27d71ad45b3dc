"""Images of a batch: from bytes to the numbers that a model reads."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from slimjax.data.image_table import IMAGE as IMAGE
from slimjax.tasks.base import Batch, Task


def read_image(batch: Batch) -> dict[str, Array]:
    """Returns what a model reads of an image.

    ``image`` is float32 ``[B H W C]``; ``features`` ``[B F]`` has the same numbers in a
    row, for a model that knows no places.
    """
    pixels = batch[IMAGE]
    return {IMAGE: pixels, "features": pixels.reshape(len(pixels), -1)}


def scale(
    x: Float[Array, "B H W C"], normalize: Sequence[float]
) -> Float[Array, "B H W C"]:
    """Returns ``(x - mean) / deviation``, by channel where there is one for each.

    Args:
        x: Numbers from 0 to 1.
        normalize: Mean and deviation; or a mean of each channel, then a deviation of
            each; or nothing.
    """
    if not normalize:
        return x
    half = len(normalize) // 2
    mean, deviation = (
        np.array(part, np.float32).reshape(1, 1, 1, half)
        for part in (normalize[:half], normalize[half:])
    )
    return (x - mean) / deviation


def to_numbers(pixels: Num[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Returns bytes as numbers from 0 to 1."""
    return pixels.astype(jnp.float32) / 255


def with_pixels(task: Task, normalize: Sequence[float]) -> Task:
    """Returns a task whose batches hold images as bytes.

    Args:
        task: The task, which reads numbers.
        normalize: See `scale`.
    """

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        if IMAGE not in batch:
            return task.inputs(batch, key)
        pixels: Any = scale(to_numbers(batch[IMAGE]), normalize)
        return task.inputs({**batch, IMAGE: pixels}, key)

    return dataclasses.replace(task, inputs=inputs)
