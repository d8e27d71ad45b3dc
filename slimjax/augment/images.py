"""Images as they are read in one step, inside of the compiled step.

Each row has a key of its own, folded from that of the step. What is computed of a row
is the same on one device and on many: sums are of whole numbers, and everything else
is computed pixel by pixel.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from slimjax.augment.config import IMAGES, AugmentConfig

Image = Float[Array, "H W C"]
Change = Callable[[Image, Array, AugmentConfig], Image]


def change_images(
    x: Float[Array, "B H W C"], key: Key[Array, ""], config: AugmentConfig
) -> Float[Array, "B H W C"]:
    """Returns images with the changes that a config asks for.

    Args:
        x: Numbers from 0 to 1.
        key: Of the step.
        config: What is changed, and how far.
    """
    numbers = jnp.arange(len(x))
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
    return jax.vmap(lambda row, own: _change_image(row, own, config))(x, keys)


def _change_image(x: Image, key: Array, config: AugmentConfig) -> Image:
    changed = x
    for number, name in enumerate(IMAGES):
        if getattr(config, name):
            own = jax.random.fold_in(key, number)
            changed = _CHANGES[name](changed, own, config)
    if config.rows == 1:
        return changed
    is_changed = jax.random.uniform(jax.random.fold_in(key, len(IMAGES)))
    return jnp.where(is_changed < config.rows, changed, x)


def _flip(x: Image, key: Array, _: AugmentConfig) -> Image:
    """Returns an image, mirrored half of the time."""
    return jnp.where(jax.random.bernoulli(key), x[:, ::-1], x)


def _shift(x: Image, key: Array, config: AugmentConfig) -> Image:
    """Returns an image moved by whole pixels, with its border repeated."""
    away = jax.random.randint(key, (2,), -config.shift, config.shift + 1)
    for axis in (0, 1):
        x = jnp.take(x, _clip(jnp.arange(x.shape[axis]) + away[axis], x, axis), axis)
    return x


def _crop(x: Image, key: Array, config: AugmentConfig) -> Image:
    """Returns a part of an image at its full size, by linear interpolation."""
    fraction, *starts = jax.random.uniform(key, (3,))
    fraction = config.crop + (1 - config.crop) * fraction
    for axis in (0, 1):
        size = x.shape[axis]
        first = starts[axis] * (1 - fraction) * size
        places = first + (jnp.arange(size) + 0.5) * fraction - 0.5
        places = jnp.clip(places, 0, size - 1)
        below = jnp.floor(places).astype(jnp.int32)
        share = jnp.expand_dims(places - below, [1 - axis, 2])
        low = jnp.take(x, below, axis)
        high = jnp.take(x, _clip(below + 1, x, axis), axis)
        x = low + share * (high - low)
    return x


def _change_brightness(x: Image, key: Array, config: AugmentConfig) -> Image:
    """Returns an image, brighter or darker by a factor."""
    most = config.brightness
    factor = jax.random.uniform(key, minval=1 - most, maxval=1 + most)
    return jnp.clip(x * factor, 0, 1)


def _add_noise(x: Image, key: Array, config: AugmentConfig) -> Image:
    """Returns an image with Gaussian noise."""
    return jnp.clip(x + config.noise * jax.random.normal(key, x.shape), 0, 1)


def _cut_out(x: Image, key: Array, config: AugmentConfig) -> Image:
    """Returns an image with a square of its mean colour; it may reach over the edge.

    References:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks
        with Cutout", 2017.
    """
    height, width, _ = x.shape
    side = round(config.cutout * min(height, width))
    centre = jax.random.uniform(key, (2,))
    inside = jnp.ones((1, 1), bool)
    for axis, size in enumerate((height, width)):
        first = jnp.floor(centre[axis] * size).astype(jnp.int32) - side // 2
        places = jnp.arange(size)
        within = (places >= first) & (places < first + side)
        inside = inside & jnp.expand_dims(within, 1 - axis)
    whole = jnp.round(x * 255).astype(jnp.int32)  # Its sum has no rounding.
    mean = jnp.sum(whole, axis=(0, 1), keepdims=True) / (255.0 * height * width)
    return jnp.where(inside[..., None], mean, x)


def _clip(places: Int[Array, " N"], x: Image, axis: int) -> Int[Array, " N"]:
    return jnp.clip(places, 0, x.shape[axis] - 1)


_CHANGES: dict[str, Change] = {
    "flip": _flip,
    "shift": _shift,
    "crop": _crop,
    "brightness": _change_brightness,
    "noise": _add_noise,
    "cutout": _cut_out,
}
