"""Bringing together what the devices of a mesh have in shares."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Shaped

from slimjax.nn.axes import constrain, is_width, mesh_to_share


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gather(
    x: Shaped[Array, "A b *rest"], axis: str, dtype: DTypeLike
) -> Shaped[Array, "A B *rest"]:
    """Returns the whole of `x`, of whose second axis each device has a stretch.

    For use inside `jax.shard_map`. What travels is rounded to `dtype`; on the way back
    gradients are summed in the type of `x`.

    Args:
        x: This device's stretch.
        axis: Axis of the mesh over which it is spread.
        dtype: Type to which numbers are rounded; they come back in the type of `x`.
    """
    whole = lax.all_gather(x.astype(dtype), axis, axis=1, tiled=True)
    return whole.astype(x.dtype)


def _gather_fwd(x, axis, dtype):
    return gather(x, axis, dtype), None


def _gather_bwd(axis, _, __, slope):
    return (lax.psum_scatter(slope, axis, scatter_dimension=1, tiled=True),)


gather.defvjp(_gather_fwd, _gather_bwd)


def gather_width(
    weight: Float[Array, "*shape"], *names: str, dtype: DTypeLike
) -> Float[Array, "*shape"]:
    """Returns a weight whose width lies whole on every device, to be used there.

    Devices that share the rows of a batch also share the width of weights. Each of
    them needs all of it for its own rows: it is gathered, rounded to `dtype`, where it
    is used, and not kept. On the way back the gradients of all rows are summed in the
    type of `weight`, and each device gets its share of the sums. A compiler left to
    itself may pass parts of the weight around instead, and add up the products of each.

    Args:
        weight: The weight, in its shares.
        *names: Names of its axes.
        dtype: Type to which numbers are rounded; they come back in that of `weight`.

    References:
        Rajbhandari et al., "ZeRO", 2020, section 5.3.
    """
    if mesh_to_share() is None:
        return weight
    return cast(Array, _gather_width(weight, names, jnp.dtype(dtype)))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather_width(weight, names, dtype):
    rounded = constrain(weight.astype(dtype), *names)
    return _whole(rounded, names).astype(weight.dtype)


def _gather_width_fwd(weight, names, dtype):
    return _gather_width(weight, names, dtype), None


def _gather_width_bwd(names, _, __, slope):
    return (constrain(_whole(slope, names), *names),)


def _whole(x, names):
    return constrain(x, *(None if is_width(name) else name for name in names))


_gather_width.defvjp(_gather_width_fwd, _gather_width_bwd)
