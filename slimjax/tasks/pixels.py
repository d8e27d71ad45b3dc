"""Images of a batch: from bytes to what a model reads, changed and mixed."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from slimjax.augment.config import AugmentConfig
from slimjax.augment.images import change_images
from slimjax.augment.mixing import draw_shares, mix, partners
from slimjax.data.image_table import IMAGE as IMAGE
from slimjax.tasks.base import Batch, Targets, Task

CHANGE, SHARE = 101, 102
"""Numbers that are folded into the key of a step, for changes and for mixup."""


def read_image(batch: Batch) -> dict[str, Array]:
    """Returns what a model reads of an image.

    ``image`` is float32 ``[B H W C]``; ``features`` ``[B F]`` has the same numbers in a
    row, for a model that knows no places.
    """
    pixels = batch[IMAGE]
    return {IMAGE: pixels, "features": pixels.reshape(pixels.shape[0], -1)}


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


def with_pixels(
    task: Task,
    normalize: Sequence[float],
    augment: AugmentConfig | None = None,
    rows_per_image: int = 1,
) -> Task:
    """Returns a task whose batches hold images as bytes.

    Args:
        task: The task, which reads numbers.
        normalize: See `scale`.
        augment: How images are changed where there is a key, that is, in training.
        rows_per_image: Rows of one image that stand together where there is a key. The
            model is then given the image of every such group.
    """
    augment = augment or AugmentConfig()
    share = partial(share_images, rows_per_image=rows_per_image)

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        if IMAGE not in batch:
            return task.inputs(batch, key)
        batch = batch if key is None else share(batch)
        x: Any = to_numbers(batch[IMAGE])
        if key is not None and augment.of_images:
            x = change_images(x, jax.random.fold_in(key, CHANGE), augment)
        if key is not None and augment.mixup:
            x = mix(x, _shares(key, len(x), augment))
        return task.inputs({**batch, IMAGE: scale(x, normalize)}, key)

    def targets(batch: Batch, key: Array | None) -> dict[str, Targets]:
        found = task.targets(batch, key)
        if key is None or not augment.mixup:
            return found
        return _mix_targets(found, _shares(key, len(batch[IMAGE]), augment))

    is_random = bool(task.is_random or augment.of_images or augment.mixup)
    is_random = is_random or rows_per_image > 1  # Training batches come with a key.
    changes = dict[str, Any](inputs=inputs, targets=targets, is_random=is_random)
    changes |= {"share": share} if rows_per_image > 1 else {}
    return dataclasses.replace(task, **changes)


def share_images(batch: Batch, rows_per_image: int) -> Batch:
    """Returns a batch with one image for each group of rows that have the same one.

    Args:
        batch: Arrays by field; rows of one image stand together.
        rows_per_image: How many have the same image.

    Examples:
        >>> rows = {"image": jnp.zeros((6, 2, 2, 1)), "label": jnp.zeros(6)}
        >>> {name: len(own) for name, own in share_images(rows, 3).items()}
        {'image': 2, 'label': 6}
    """
    if IMAGE not in batch:
        return batch
    return {**batch, IMAGE: batch[IMAGE][::rows_per_image]}


def _shares(key: Array, num_rows: int, augment: AugmentConfig) -> Float[Array, " B"]:
    return draw_shares(jax.random.fold_in(key, SHARE), num_rows, augment.mixup)


def _mix_targets(
    targets: Mapping[str, Targets], share: Float[Array, " B"]
) -> dict[str, Targets]:
    """Returns targets that are mixed as their images are.

    Of classes by themselves the probabilities are mixed; of one class among all there
    are two, each with its share of the loss.
    """
    mixed = {}
    for name, target in targets.items():
        values = target.values
        if values.ndim == 2:
            mixed[name] = target._replace(values=mix(jnp.float32(values), share))
        else:
            mixed[name] = target._replace(mixed=(partners(values), share))
    return mixed
