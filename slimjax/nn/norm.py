"""Normalisation of the residual stream: by the mean square, or by mean and variance."""

from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from slimjax import native
from slimjax.native import calls
from slimjax.nn.axes import named
from slimjax.nn.products import is_many

EPSILON = 1e-6
"""What keeps the root of a mean square away from zero."""


def rms_norm(
    x: Float[Array, "*batch D"],
    scale: Float[Array, " D"],
    epsilon: float = EPSILON,
    num_open: int | Num[Array, ""] | None = None,
) -> Float[Array, "*batch D"]:
    """Returns ``x / sqrt(mean(x^2) + epsilon) * scale``, in float32.

    The mean is over `num_open` channels, all by default.
    """
    x = x.astype(jnp.float32)
    count = x.shape[-1] if num_open is None else num_open
    rows = x.reshape(-1, x.shape[-1])
    if is_many(rows.shape[0]) and native.is_enabled():
        count = jnp.asarray(count, jnp.float32)
        return cast(Array, _native_norm(rows, scale, count, epsilon)).reshape(x.shape)
    scale = jnp.expand_dims(scale, range(x.ndim - 1))
    mean_square = jnp.sum(x * x, axis=-1, keepdims=True) / count
    return x * jax.lax.rsqrt(mean_square + epsilon) * scale


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native_norm(x, scale, count, epsilon) -> Array:
    return calls.norm_forward(x, scale, count, epsilon)[0]


def _native_norm_fwd(x, scale, count, epsilon):
    out, inverse = calls.norm_forward(x, scale, count, epsilon)
    return out, (x, scale, count, inverse)


def _native_norm_bwd(_, residuals, slope):
    x, scale, count, inverse = residuals
    return *calls.norm_backward(x, scale, count, inverse, slope), None


_native_norm.defvjp(_native_norm_fwd, _native_norm_bwd)


def layer_norm(
    x: Float[Array, "*batch D"],
    scale: Float[Array, " D"],
    bias: Float[Array, " D"],
    epsilon: float,
    is_open: Bool[Array, " D"] | None = None,
) -> Float[Array, "*batch D"]:
    """Returns ``(x - mean(x)) / sqrt(var(x) + epsilon) * scale + bias``, in float32.

    Args:
        x: Vectors, 0 in closed channels.
        scale: Factor of each channel.
        bias: What is added to each channel.
        epsilon: What keeps the root away from zero.
        is_open: Which channels the mean and the variance are over; the others come out
            as 0. By default all are open.
    """
    x, axes = x.astype(jnp.float32), range(x.ndim - 1)
    if is_open is None:
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
    else:
        count = jnp.sum(is_open)
        centred = x - x.sum(-1, keepdims=True) / count
        centred = jnp.where(jnp.expand_dims(is_open, axes), centred, 0.0)
        variance = jnp.square(centred).sum(-1, keepdims=True) / count
        bias = jnp.where(is_open, bias, 0.0)
    scale, bias = (jnp.expand_dims(v, axes) for v in (scale, bias))
    return centred * jax.lax.rsqrt(variance + epsilon) * scale + bias


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, in float32 whatever comes in.

    ``y = x / sqrt(mean(x^2) + epsilon) * scale``. The mean is over open channels:
    closed ones are 0 and do not count.

    Attributes:
        epsilon: What keeps the root away from zero.
        axis: Name of the width of the residual stream.
        writes: Whether the result becomes the residual stream, as after a sublayer or
            after the embedding. It then passes the gates of the channels, and ``scale``
            is stored as ``[1, D]``, like all that writes to the stream.

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, section 4.
    """

    epsilon: float = EPSILON
    axis: str = "embed"
    writes: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"] | None = None
    ) -> Float[Array, "*batch D"]:
        """Brings each vector to unit mean square, then scales its channels.

        Args:
            x: Vectors, 0 in closed channels.
            channels: Gates of the channels; None when all are open.
        """
        width = x.shape[-1]
        scale = _vector(self, "scale", nn.initializers.ones, width, channels)
        num_open = None if channels is None else jnp.sum(channels > 0)
        return rms_norm(x, scale, self.epsilon, num_open)


class LayerNorm(nn.Module):
    """Normalisation to mean 0 and variance 1, with a scale and a bias, in float32.

    Mean and variance are over open channels; closed ones come out as 0, whatever their
    bias is.

    Attributes:
        epsilon: What keeps the root away from zero.
        axis: Name of the width of the residual stream.
        writes: See `RMSNorm`; ``scale`` and ``bias`` are then stored as ``[1, D]``.

    References:
        Ba et al., "Layer Normalization", 2016, section 3.
    """

    epsilon: float = EPSILON
    axis: str = "embed"
    writes: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"] | None = None
    ) -> Float[Array, "*batch D"]:
        """Normalises each vector, then scales and moves its channels.

        Args:
            x: Vectors, 0 in closed channels.
            channels: Gates of the channels; None when all are open.
        """
        width = x.shape[-1]
        scale = _vector(self, "scale", nn.initializers.ones, width, channels)
        bias = _vector(self, "bias", nn.initializers.zeros, width, channels)
        is_open = None if channels is None else channels > 0
        return layer_norm(x, scale, bias, self.epsilon, is_open)


def _vector(
    module: Any, name: str, init: Any, width: int, channels: Float[Array, " D"] | None
) -> Float[Array, " D"]:
    """Makes or reads a norm's vector, times the gates of the channels it writes to."""
    if not module.writes:
        init = named(init, module.axis)
        return jnp.asarray(module.param(name, init, (width,), jnp.float32))
    init = named(init, name, module.axis)
    vector = jnp.asarray(module.param(name, init, (1, width), jnp.float32))[0]
    return vector if channels is None else vector * channels


def make_norm(
    kind: str,
    *,
    epsilon: float = EPSILON,
    axis: str = "embed",
    writes: bool = False,
    name: str | None = None,
) -> nn.Module:
    """Returns the norm of a kind of `slimjax.nn.implementations.NORMS`.

    Args:
        kind: ``rms`` or ``layer``.
        epsilon: What keeps the root away from zero.
        axis: Name of the width of the residual stream.
        writes: Whether the result becomes the residual stream; see `RMSNorm`.
        name: Name of the module.

    Raises:
        ValueError: If there is no such kind.
    """
    kinds = {"rms": RMSNorm, "layer": LayerNorm}
    if kind not in kinds:
        raise ValueError(f"{kind!r} is not a norm. Known: {tuple(kinds)}.")
    return kinds[kind](epsilon, axis, writes, name=name)
