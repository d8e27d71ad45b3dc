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
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

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
    *,
    query_positions: Int[Array, "B T"] | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    key_segments: Int[Array, "B S"] | None = None,
    rotation: Rotation | None = None,
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
        query_positions: See there.
        query_segments: See there.
        key_segments: See there.
        rotation: See there.
        **options: What is the same for all devices.
    """
    names = "batch", "positions", "heads", "head_dim"
    rows, places, heads, _ = spread(names, query.shape, mesh.shape)
    if query_positions is not None or spread(names, key.shape, mesh.shape)[1] is None:
        places = None
    if heads is not None:
        times = num_parts("heads", mesh.shape)
        key, value = (_repeat_heads(x, times) for x in (key, value))
    alike = key_segments is query_segments and query.shape[1] == key.shape[1]
    marks = query_positions, query_segments, None if alike else key_segments

    def attend_share(query, key, value, marks, rotation):
        positions, query_segments, key_segments = marks
        key_segments, stretch = query_segments if alike else key_segments, None
        if places is not None:
            query, key = _turn(query, rotation), _turn(key, rotation)
            key, value = (gather(x, places, options["dtype"]) for x in (key, value))
            if key_segments is not None:
                key_segments = gather(key_segments, places, key_segments.dtype)
            rotation = None
            own = Stretch(lax.axis_index(places), lax.axis_size(places))
            positions = own.positions(query) if options["causal"] else None
            stretch = own if alike else None
        return attend(
            *(query, key, value),
            query_positions=positions,
            query_segments=query_segments,
            key_segments=key_segments,
            rotation=rotation,
            stretch=stretch,
            **options,
        )

    lie = P(rows, places, heads)
    along = P(rows, places)
    # Kernels do not say how their outputs vary over the mesh.
    run = jax.shard_map(
        attend_share,
        in_specs=(lie, lie, lie, along, along),
        out_specs=lie,
        check_vma=False,
    )
    return run(query, key, value, marks, rotation)


def _turn(x: Array, rotation: Rotation | None) -> Array:
    return x if rotation is None else rotate(x, rotation)


def _repeat_heads(x: Float[Array, "B S K H"], count: int) -> Float[Array, "B S _ H"]:
    """Repeats heads until `count` divides their number."""
    times = count // gcd(x.shape[2], count)
    return x if times == 1 else jnp.repeat(x, times, axis=2)
