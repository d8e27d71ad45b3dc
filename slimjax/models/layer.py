"""One layer of a decoder, and many of them, one after the other.

Layers of one shape that follow each other are a *run*. A run is traced once; where it
is *scanned*, it is also compiled once, as a loop over its weights, so that compile time
hardly grows with depth. The weights are stacked inside the program: outside of it each
layer has its own, whatever the others look like.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from slimjax import native
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.nn import platforms
from slimjax.nn.attention import Attention
from slimjax.nn.axes import constrain
from slimjax.nn.mlp import GatedMLP

SHORTEST_SCAN = 4
"""Equal layers from which ``scan_layers="auto"`` makes a loop, but on a CPU."""

Streams = list[Float[Array, "B T D"]]


class Layer(nn.Module):
    """Attention and MLP, each added to the residual stream, each of them optional."""

    layer: LayerConfig
    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: Array, positions: Array, channels: Array
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream after this layer."""
        dtype = jnp.dtype(self.config.dtype)
        stream = lambda x: constrain(x, "batch", "positions", None)
        out_scale = (2 * len(self.config.layers)) ** -0.5
        if self.layer.attention:
            attention = Attention(
                num_heads=self.layer.num_heads,
                num_kv_heads=self.layer.num_kv_heads,
                head_dim=self.layer.head_dim,
                rope_base=self.config.rope_base,
                dtype=dtype,
                impl=self.config.attention_impl,
                out_scale=out_scale,
                name="attention",
            )
            x = stream(x + attention(x, positions, channels))
        if self.layer.mlp:
            mlp = GatedMLP(self.layer.mlp_dim, dtype, out_scale, name="mlp")
            x = stream(x + mlp(x, channels))
        return x


def apply_layers(
    config: ModelConfig,
    variables: Mapping[str, Mapping[str, PyTree]],
    x: Float[Array, "B T D"],
    positions: Int[Array, "B T"],
    channels: Float[Array, " D"],
    *,
    keep: bool,
) -> Streams:
    """Returns the residual stream after each layer, or after the last if not `keep`.

    Args:
        config: The model.
        variables: Its collections; those of layer i are called ``layer_i`` in each.
        x: The residual stream before the first layer.
        positions: 0, 1, 2 ... in each row.
        channels: Gates of the residual stream.
        keep: Whether streams between layers are asked for.
    """
    streams = [x]
    for shape, numbers in runs_of(config.layers):
        layers = [_variables_of(variables, number) for number in numbers]
        is_loop = is_scanned(config, len(layers))
        fn = layer_fn(shape, config, native.is_enabled(), is_loop)
        apply = lambda x, layer, fn=fn: fn(layer, x, positions, channels)
        run = _scan if is_loop else _unroll
        streams += run(apply, streams[-1], layers, keep=keep)
        streams = streams if keep else streams[-1:]
    return streams[1:] if keep else streams


def runs_of(layers: tuple[LayerConfig, ...]) -> Iterator[tuple[LayerConfig, list[int]]]:
    """Yields each longest run of equal layers: their shape and their numbers.

    Examples:
        >>> a, b = LayerConfig(2, 2, 4, 8), LayerConfig(2, 1, 4, 8)
        >>> [numbers for _, numbers in runs_of((a, a, b, a))]
        [[0, 1], [2], [3]]
    """
    for shape, run in itertools.groupby(enumerate(layers), key=lambda pair: pair[1]):
        yield shape, [number for number, _ in run]


def is_scanned(config: ModelConfig, num_layers: int) -> bool:
    """Whether so many equal layers are compiled as a loop, on the target's platform."""
    if config.scan_layers != "auto":
        return bool(config.scan_layers) and num_layers > 1
    return platforms.target_platform() != "cpu" and num_layers >= SHORTEST_SCAN


def _unroll(apply: Callable, x: Array, layers: list[PyTree], *, keep: bool) -> Streams:
    streams = [x]
    for layer in layers:
        streams.append(apply(streams[-1], layer))
    return streams[1:] if keep else streams[-1:]


def _scan(apply: Callable, x: Array, layers: list[PyTree], *, keep: bool) -> Streams:
    def step(x: Array, layer: PyTree) -> tuple[Array, Array | None]:
        x = apply(x, layer)
        return x, x if keep else None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    last, streams = jax.lax.scan(step, x, stacked, length=len(layers))
    return [last] if streams is None else list(streams)


def _variables_of(variables: Mapping[str, Any], number: int) -> PyTree:
    """Returns the collections of one layer; one without sublayers has none."""
    name = f"layer_{number}"
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}


@functools.lru_cache(maxsize=256)
def layer_fn(
    shape: LayerConfig,
    config: ModelConfig,
    with_kernels: bool,  # noqa: ARG001
    in_loop: bool,
) -> Callable[..., Float[Array, "B T D"]]:
    """Returns the pure function (variables, x, positions, channels) -> x of a layer.

    It is the same function for the same arguments, so that layers of one shape are
    traced once, and a model that is called outside of `jax.jit` compiles them once.

    Args:
        shape: The layer's shape.
        config: The model it stands in.
        with_kernels: Whether `slimjax.native` is enabled: what is traced with the
            kernels is no answer without them.
        in_loop: Whether it is the body of a loop, where the compiler needs not be kept
            from finding out that it computes something twice.
    """
    layer = Layer(shape, config, parent=None)

    def apply(variables: PyTree, x: Array, positions: Array, channels: Array) -> Array:
        return layer.apply(variables, x, positions, channels)  # pyright: ignore

    policies = {
        "full": jax.checkpoint_policies.nothing_saveable,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
    if config.remat != "none":
        policy = policies[config.remat]
        apply = jax.checkpoint(apply, policy=policy, prevent_cse=not in_loop)
    return jax.jit(apply)
