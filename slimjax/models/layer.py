"""One layer of a decoder, and many of them, one after the other.

Layers of one shape that follow each other are a run (`slimjax.models.runs`). A run is
traced once; where it is *scanned*, it is also compiled once, as a loop over its
weights, so that compile time hardly grows with depth.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from slimjax import native
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.runs import Run, is_scanned, run_name, runs_of, stack_run
from slimjax.nn.attention import Attention
from slimjax.nn.axes import constrain
from slimjax.nn.mlp import GatedMLP

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
        variables: Its collections; those of layer i are called ``layer_i`` in each, or
            stand stacked with those of its run.
        x: The residual stream before the first layer.
        positions: 0, 1, 2 ... in each row.
        channels: Gates of the residual stream.
        keep: Whether streams between layers are asked for.
    """
    streams = [x]
    for shape, numbers in runs_of(config.layers):
        is_loop = is_scanned(config, len(numbers))
        fn = layer_fn(shape, config, native.is_enabled(), is_loop)
        apply = lambda x, layer, fn=fn: fn(layer, x, positions, channels)
        run = _scan if is_loop else _unroll
        streams += run(apply, streams[-1], variables, numbers, keep=keep)
        streams = streams if keep else streams[-1:]
    return streams[1:] if keep else streams


def _unroll(
    apply: Callable, x: Array, variables: Mapping[str, Any], run: Run, *, keep: bool
) -> Streams:
    streams = [x]
    for number in run:
        layer = _variables_of(variables, f"layer_{number}")
        streams.append(apply(streams[-1], layer))
    return streams[1:] if keep else streams[-1:]


def _scan(
    apply: Callable, x: Array, variables: Mapping[str, Any], run: Run, *, keep: bool
) -> Streams:
    def step(x: Array, layer: PyTree) -> tuple[Array, Array | None]:
        x = apply(x, layer)
        return x, x if keep else None

    stacked = {kind: stack_run(tree, run) for kind, tree in variables.items()}
    layers = _variables_of(stacked, run_name(run))
    last, streams = jax.lax.scan(step, x, layers, length=len(run))
    return [last] if streams is None else list(streams)


def _variables_of(variables: Mapping[str, Any], name: str) -> PyTree:
    """Returns the collections of one layer or run; one without sublayers has none."""
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}


@functools.lru_cache(maxsize=256)
def layer_fn(
    shape: LayerConfig,
    config: ModelConfig,
    with_kernels: bool,
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
    elif in_loop and with_kernels:
        apply = jax.checkpoint(apply, policy=_is_kernel, prevent_cse=False)
    return jax.jit(apply)


def _is_kernel(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether a result is kept for the backward pass of a loop over layers."""
    return primitive.name == "ffi_call"
