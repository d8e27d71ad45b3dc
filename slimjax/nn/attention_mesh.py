"""Attention on a mesh: each device has its rows, its heads and its positions.

Rows and heads need nothing of each other. Queries at some of a row's positions need the
keys and values of all of them, which are gathered; the gradient is scattered back and
summed on its way. A kernel runs on one device's share and knows of no other.

References:
    Grattafiori et al., "The Llama 3 Herd of Models", 2024, section 3.3.2 (context
    parallelism by gathered keys and values).
"""

import dataclasses
from collections.abc import Callable
from math import gcd
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from slimjax.nn.attention_dropout import Drop
from slimjax.nn.attention_mask import Mask
from slimjax.nn.axes import num_parts, spread
from slimjax.nn.gather import gather
from slimjax.nn.positions import Rotation, rotate


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Which of a row's positions the queries stand at: a part of those of the keys.

    Attributes:
        part: Number of this part, int32 [].
        num_parts: How many equal parts there are.
    """

    part: Array
    num_parts: int

    def positions(self, like: Float[Array, "B T N H"]) -> Int[Array, "B T"]:
        """Returns the positions of such queries."""
        batch_size, length = like.shape[:2]
        own = self.part * length + jnp.arange(length)
        return jnp.broadcast_to(own, (batch_size, length))


def attend_on_mesh(
    attend: Callable[..., Float[Array, "B T N H"]],
    mesh: AbstractMesh,
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask,
    *,
    rotation: Rotation | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
    drop: Drop | None = None,
    **options: Any,
) -> Float[Array, "B T N H"]:
    """Returns what `attend` returns for the whole, computed by all devices of a mesh.

    Rows, heads and positions are spread by the rules of `slimjax.nn.axes`; what cannot
    be cut evenly stays whole. Key heads are repeated until they can be. Queries with
    positions of their own, and their keys, a cache, have their positions together.

    Args:
        attend: Attention of one device. It is given a `Stretch`, or None, as
            ``stretch`` beside the arguments here.
        mesh: The mesh in context.
        query: See `slimjax.nn.attention_kernels.attend`, as for the rest.
        key: See there.
        value: See there.
        mask: Which queries see which keys.
        rotation: See there.
        bias: See there.
        drop: Which weights are dropped.
        **options: What is the same for all devices.
    """
    names = "batch", "positions", "heads", "head_dim"
    rows, places, heads, _ = spread(names, query.shape, mesh.shape)
    if (
        mask.query_positions is not None
        or spread(names, key.shape, mesh.shape)[1] is None
    ):
        places = None
    if heads is not None:
        times = num_parts("heads", mesh.shape)
        key, value = (_repeat_heads(x, times) for x in (key, value))
    alike = mask.key_segments is mask.query_segments
    alike = alike and query.shape[1] == key.shape[1]
    if alike:
        mask = dataclasses.replace(mask, key_segments=None)

    def attend_share(query, key, value, mask, rotation, bias, drop):
        if alike:
            mask = dataclasses.replace(mask, key_segments=mask.query_segments)
        own = query, key, value, mask
        more: dict[str, Any] = dict(rotation=rotation, bias=bias, drop=drop)
        if places is not None:
            own = _gather_keys(*own, rotation, places, options["dtype"])
            stretch = Stretch(lax.axis_index(places), lax.axis_size(places))
            own = *own[:3], _at_positions(own[3], stretch, query)
            more |= dict(rotation=None, stretch=stretch if alike else None)
        return attend(*own, **more, **options)

    inputs = query, key, value, mask, rotation, bias, drop
    specs = _input_specs(rows, places, heads, bias, drop)
    # Kernels do not declare how their outputs vary over the mesh.
    run = jax.shard_map(
        attend_share, in_specs=specs, out_specs=specs[0], check_vma=False
    )
    return run(*inputs)


def _input_specs(
    rows: Any, places: str | None, heads: Any, bias: Array | None, drop: Drop | None
) -> tuple[Any, ...]:
    """Returns how the inputs of attention are divided: query, key, value, mask ..."""
    whole, along = P(rows, places, heads), P(rows, places)
    of_bias = P(None if bias is None or len(bias) == 1 else rows, heads, places)
    of_drop = None if drop is None else Drop(P(rows, heads), P(places), drop.rate)
    return whole, whole, whole, along, along, of_bias, of_drop


def _gather_keys(
    query: Array,
    key: Array,
    value: Array,
    mask: Mask,
    rotation: Rotation | None,
    places: str,
    dtype: Any,
) -> tuple[Array, Array, Array, Mask]:
    """Returns a device's queries, turned, and keys, values and marks of whole rows."""
    query, key = _turn(query, rotation), _turn(key, rotation)
    key, value = (cast(Array, gather(x, places, dtype)) for x in (key, value))
    segments = mask.key_segments
    if segments is not None:
        segments = gather(segments, places, segments.dtype)
    return query, key, value, dataclasses.replace(mask, key_segments=segments)


def _at_positions(mask: Mask, stretch: Stretch, query: Array) -> Mask:
    """Returns the mask of the queries of a stretch."""
    positions = stretch.positions(query) if mask.needs_positions else None
    return dataclasses.replace(mask, query_positions=positions)


def _turn(x: Array, rotation: Rotation | None) -> Array:
    return x if rotation is None else rotate(x, rotation)


def _repeat_heads(x: Float[Array, "B S K H"], count: int) -> Float[Array, "B S _ H"]:
    """Repeats heads until `count` divides their number."""
    times = count // gcd(x.shape[2], count)
    return x if times == 1 else jnp.repeat(x, times, axis=2)
