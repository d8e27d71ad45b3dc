"""One vector for a row of many, which a head then reads."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.activations import activate
from slimjax.nn.axes import named
from slimjax.nn.implementations import POOLS
from slimjax.nn.largest import largest
from slimjax.nn.norm import make_norm
from slimjax.nn.products import product

LEAST_SQUARE = 1e-12
"""What keeps the length of a vector away from zero."""


def pool(
    x: Float[Array, "B T D"], kind: str, segments: Int[Array, "B T"] | None = None
) -> Float[Array, "B D"]:
    """Returns the first vector of each row, or the mean or maximum over its positions.

    A row of padding alone gives zeros for the mean and the maximum. Closed channels,
    which are 0, stay 0.

    Args:
        x: Vectors of all positions.
        kind: One of `slimjax.nn.implementations.POOLS`: first, mean or max.
        segments: 0 where a position is padding; None when there is none.

    Raises:
        ValueError: If there is no such kind.

    Examples:
        >>> pool(jnp.array([[[1.0], [4.0], [9.0]]]), "max", jnp.array([[1, 1, 0]]))
        Array([[4.]], dtype=float32)
    """
    if kind not in POOLS:
        raise ValueError(f"{kind!r} is not a pooling. Known: {POOLS}.")
    if kind == "first":
        return x[:, 0]
    there = jnp.ones(x.shape[:2], bool) if segments is None else segments > 0
    count = there.sum(1)[:, None]
    if kind == "mean":
        return jnp.where(there[..., None], x, 0.0).sum(1) / jnp.maximum(count, 1)
    most = largest(jnp.where(there[..., None], x, -jnp.inf), axis=1)
    return jnp.where(count > 0, most, 0.0)


def normalize(x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Returns vectors of length 1, float32; a vector of zeros stays one.

    Examples:
        >>> normalize(jnp.array([3.0, 4.0])).round(3).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    x = x.astype(jnp.float32)
    return x * lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + LEAST_SQUARE)


class Pooler(nn.Module):
    """BERT's ``tanh(x @ kernel + bias)`` between a pooled vector and a head.

    Other models have another activation.

    Its outputs are not channels of the residual stream: they have an axis of their own,
    ``pooled``, which the head's table names too. So a channel that is cut from the
    stream takes only a row of the kernel with it.

    Attributes:
        width: Number of outputs, P; the width of the residual stream at its start.
        dtype: Type of the operands of products; sums are float32.
        axis: Name of the width of the residual stream.
        activation: Name of the activation.

    References:
        Devlin et al., "BERT", 2019, appendix A.
    """

    width: int
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"
    activation: str = "tanh"

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"]
    ) -> Float[Array, "*batch P"]:
        """Returns what the head reads.

        Args:
            x: What is pooled.
            channels: Gates of the residual stream.
        """
        init = named(nn.initializers.lecun_normal(), self.axis, "pooled")
        shape = x.shape[-1], self.width
        kernel = self.param("kernel", init, shape, jnp.float32)
        init = named(nn.initializers.zeros, "pooled")
        bias = self.param("bias", init, (self.width,), jnp.float32)
        x = x * jnp.expand_dims(channels, range(x.ndim - 1))
        out = product(x, kernel, self.dtype)
        out = out + jnp.expand_dims(bias, range(x.ndim - 1))
        return activate(out, self.activation)


class Transform(nn.Module):
    """BERT's ``norm(act(x @ kernel + bias))`` before tokens are scored.

    Parameters: ``kernel [D D]``, which reads and writes the channels of the residual
    stream, ``bias [D]``, and those of ``norm``, a LayerNorm. Closed channels come out
    as 0.

    Attributes:
        activation: Name of the activation.
        epsilon: That of the norm.
        dtype: Type of the operands of products; sums are float32.
        axis: Name of the width of the residual stream.

    References:
        Devlin et al., "BERT", 2019, section 3.1 and its published code.
    """

    activation: str
    epsilon: float
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"]
    ) -> Float[Array, "*batch D"]:
        """Returns what is multiplied with the table of tokens.

        Args:
            x: The last residual stream.
            channels: Its gates.
        """
        width, across = x.shape[-1], range(x.ndim - 1)
        init = named(nn.initializers.lecun_normal(), self.axis, self.axis)
        kernel = self.param("kernel", init, (width, width), jnp.float32)
        init = named(nn.initializers.zeros, self.axis)
        bias = self.param("bias", init, (width,), jnp.float32)
        out = product(x, kernel, self.dtype) + jnp.expand_dims(bias, across)
        is_open = jnp.expand_dims(channels > 0, across)
        out = jnp.where(is_open, activate(out, self.activation), 0.0)
        norm = make_norm(
            "layer", epsilon=self.epsilon, axis=self.axis, writes=True, name="norm"
        )
        return norm(out, channels)
