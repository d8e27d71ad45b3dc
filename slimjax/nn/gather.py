"""Bringing together what the devices of a mesh have in shares."""

from functools import partial

import jax
from jax import lax
from jaxtyping import Array, DTypeLike, Shaped


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
