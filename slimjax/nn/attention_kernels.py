"""One door to attention: the fastest exact kernel for the platform and the shape."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax import native
from slimjax.errors import ConfigError
from slimjax.nn import attention_cudnn, attention_native, attention_splash
from slimjax.nn.attention_blocked import attend_blocked
from slimjax.nn.attention_cudnn import attend_cudnn
from slimjax.nn.attention_dropout import make_drop
from slimjax.nn.attention_mask import Mask
from slimjax.nn.attention_mesh import Stretch, attend_on_mesh
from slimjax.nn.attention_native import attend_native
from slimjax.nn.attention_reference import attend_reference
from slimjax.nn.attention_splash import attend_splash
from slimjax.nn.axes import mesh_to_share
from slimjax.nn.implementations import IMPLEMENTATIONS
from slimjax.nn.positions import Rotation, rotate
from slimjax.nn.products import is_many

KERNELS = dict(
    reference=attend_reference,
    blocked=attend_blocked,
    native=attend_native,
    cudnn=attend_cudnn,
    splash=attend_splash,
)
WHY_NOT = dict(
    native=attention_native.why_not,
    cudnn=attention_cudnn.why_not,
    splash=attention_splash.why_not,
)

SHORT = 128
"""Positions up to which the whole matrix of scores is the faster way."""


def attend(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    query_positions: Int[Array, "B T"] | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    key_segments: Int[Array, "B S"] | None = None,
    rotation: Rotation | None = None,
    scale: float | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
    dropout: float = 0.0,
    dropout_key: Array | None = None,
    impl: str = "auto",
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B T N H"]:
    """Mixes values by the softmax of scaled scores, in float32 but for the products.

    Query head n uses key and value head n // (N / K). A query that sees no key gives
    zeros, and passes no gradient on. Under ``jax.set_mesh`` the devices share the work,
    as `slimjax.nn.attention_mesh` describes.

    Args:
        query: Queries.
        key: Keys, of K heads that divide N.
        value: Values.
        causal: Whether the query at position p sees only keys j <= p.
        window: If given, it sees only keys j > p - window, and without `causal` only
            keys j < p + window.
        query_positions: Positions p of the queries, for keys that are a cache; by
            default query i is at position i. Only with `causal` or a window.
        query_segments: If given, a query sees only keys of its own segment, and
            segment 0 is padding, which sees and shows nothing.
        key_segments: Segments of the keys; given together with `query_segments`.
        rotation: Table of `slimjax.nn.positions` by which queries and keys are turned
            first; by default they are taken as they are.
        scale: Factor of the scores; ``H ** -0.5`` by default.
        bias: What is added to the scores, such as relative positions; it has an exact
            gradient. `reference` and `blocked` take it, in memory of its own size.
        dropout: Share of the weights that is dropped; only with `dropout_key`, and only
            in `reference` and `blocked`. It is the same in both and on any mesh.
        dropout_key: Key of this call; None for no dropout.
        impl: Which kernel: ``auto``, ``reference``, ``blocked``, ``native``, which
            wants a CPU and a compiler, ``cudnn``, which wants a GPU and bfloat16, or
            ``splash``, which wants a TPU.
        dtype: Type of the products' operands; they sum in float32.

    Returns:
        Mixed values, in float32.

    Raises:
        ValueError: If the arguments contradict each other.
        ConfigError: If the kernel asked for cannot run here; gives the reason.
    """
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r} is not a kernel. Known: {IMPLEMENTATIONS}.")
    if query.shape[2] % key.shape[2]:
        raise ValueError(
            f"{query.shape[2]} query heads cannot share {key.shape[2]} key heads."
        )
    if bias is not None and bias.shape[1:] != (*query.shape[2:0:-1], key.shape[1]):
        raise ValueError(f"bias {bias.shape} does not fit; it must be [B or 1, N T S].")
    mask = Mask(query_positions, query_segments, key_segments, causal, window)
    mask.check()
    drop = None
    if dropout and dropout_key is not None:
        drop = make_drop(dropout_key, dropout, query)
    options: dict[str, Any] = dict(
        rotation=rotation, scale=scale, bias=bias, drop=drop, impl=impl, dtype=dtype
    )
    mesh = mesh_to_share()
    if mesh is None:
        return _attend_here(query, key, value, mask, **options)
    return attend_on_mesh(_attend_here, mesh, query, key, value, mask, **options)


def _attend_here(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask,
    *,
    impl: str,
    rotation: Rotation | None,
    stretch: Stretch | None = None,
    **options: Any,
) -> Float[Array, "B T N H"]:
    """Returns attention on one device; see `attend_on_mesh` for `stretch`."""
    wishes: dict[str, Any] = options | {"stretch": stretch}
    if impl == "auto":
        impl = choose(query, key, mask, **wishes)
    elif impl in WHY_NOT and (reason := WHY_NOT[impl](query, key, mask, **wishes)):
        raise ConfigError(
            f"config.model.attention_impl={impl!r} {reason}. "
            "Set config.model.attention_impl='auto'."
        )
    if impl == "native":
        options |= {"rotation": rotation}
    elif rotation is not None:
        query, key = rotate(query, rotation), rotate(key, rotation)
    if impl == "splash":
        options |= {"stretch": stretch}
    return KERNELS[impl](query, key, value, mask, **options)


def choose(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    mask: Mask,
    **options: Any,
) -> str:
    """Returns the fastest kernel for these shapes on the platform of the program."""
    for impl in ("cudnn", "splash"):
        if not WHY_NOT[impl](query, key, mask, **options):
            return impl
    pays = is_many(query.shape[1]) and native.is_enabled()
    if pays and not WHY_NOT["native"](query, key, mask, **options):
        return "native"
    short = max(query.shape[1], key.shape[1]) <= SHORT
    return "reference" if short else "blocked"
