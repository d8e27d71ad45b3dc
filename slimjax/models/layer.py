"""One layer of a tower, and many of them, one after the other.

Layers of one shape that follow each other are a run (`slimjax.models.runs`). A run is
traced once; where it is *scanned*, it is also compiled once, as a loop over its
weights, so that compile time hardly grows with depth.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax import native
from slimjax.models.context import Context
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.runs import Numbers, Run, is_scanned, runs_of, stack_run
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.nn.attention import Attention, CrossAttention
from slimjax.nn.axes import constrain
from slimjax.nn.dropout import dropout, fold_name
from slimjax.nn.mlp import MLP
from slimjax.nn.norm import make_norm
from slimjax.nn.recurrent import Recurrent

Streams = list[Float[Array, "*batch D"]]


class Layer(nn.Module):
    """Sublayers, each added to the residual stream, each of them optional.

    These are ``attention`` or ``recurrent``, ``cross`` (attention to another tower) and
    ``mlp``. Norms at
    the input of a sublayer are its own. Norms at its output are the layer's, and stay
    when the sublayer is removed.

    Attributes:
        layer: The shape.
        tower: The tower that it stands in.
        compute: How it computes.
        memory_axis: Name of the width of what cross-attention reads.
        out_scale: Factor of the initial weights that write to the residual stream.
    """

    layer: LayerConfig
    tower: TowerConfig
    compute: Compute
    memory_axis: str = ""
    out_scale: float = 1.0

    @nn.compact
    def __call__(
        self, x: Array, context: Context, only: str = ""
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream after this layer, or after one sublayer of it."""
        sublayers: dict[str, Callable] = {"attention": self._attend}
        if self.tower.style.cell:
            sublayers = {"recurrent": self._carry}
        if self.tower.memory is not None:
            sublayers["cross"] = self._attend_across
        sublayers["mlp"] = self._transform
        for name, sublayer in sublayers.items():
            if only in ("", name):
                x = self._add(name, sublayer, x, context)
        return x

    def _add(
        self, name: str, sublayer: Callable, x: Array, context: Context
    ) -> Float[Array, "B T D"]:
        """Returns the stream after a sublayer and the norm of its output."""
        if getattr(self.layer, name):
            added = sublayer(name, x, context)
            added = dropout(added, self.compute.dropout, fold_name(context.key, name))
            x = constrain(x + added, "batch", "positions", None)
        if self.tower.style.norm_at == "output":
            norm = make_norm(
                self.tower.style.norm,
                epsilon=self.tower.epsilon,
                axis=self.tower.axis,
                writes=True,
                name=f"{name}_norm",
            )
            x = norm(x, context.channels)
        return x

    def _attend(self, name: str, x: Array, context: Context) -> Array:
        tower, positions = self.tower, self.tower.style.positions
        attention = Attention(
            num_heads=self.layer.num_heads,
            num_kv_heads=self.layer.num_kv_heads,
            **self._head_options,
            rope_base=tower.rope_base,
            rope_scaling=tower.rope_scaling,
            rotary=positions == "rotary",
            causal=not tower.sees_all,
            window=tower.window or None,
            relative=tower.buckets if positions == "relative" else None,
            name=name,
        )
        return attention(
            x,
            context.positions,
            context.channels,
            segments=context.segments,
            key=fold_name(context.key, "weights"),
        )

    def _carry(self, name: str, x: Array, context: Context) -> Array:
        recurrent = Recurrent(
            units=self.layer.state_dim,
            cell=self.tower.style.cell,
            both_ways=self.tower.sees_all,
            **self._options,
            name=name,
        )
        return recurrent(x, context.channels, segments=context.segments)

    def _attend_across(self, name: str, x: Array, context: Context) -> Array:
        attention = CrossAttention(
            num_heads=self.layer.cross_heads,
            num_kv_heads=self.layer.cross_kv_heads,
            **self._head_options,
            memory_axis=self.memory_axis,
            name=name,
        )
        return attention(
            x,
            context.memory,
            context.channels,
            segments=context.segments,
            memory_segments=context.memory_segments,
            key=fold_name(context.key, "cross weights"),
        )

    @property
    def _head_options(self) -> dict[str, Any]:
        """What self-attention and cross-attention have in common."""
        return dict(
            head_dim=self.layer.head_dim,
            impl=self.compute.attention_impl,
            qk_norm=self.tower.style.qk_norm,
            scale=self.tower.attention_scale or None,
            dropout=self.compute.dropout,
            out_bias=self.tower.style.bias in (True, "attention"),
            **self._options | dict(bias=bool(self.tower.style.bias)),
        )

    def _transform(self, name: str, x: Array, context: Context) -> Array:
        style = self.tower.style
        mlp = MLP(
            mlp_dim=self.layer.mlp_dim,
            gated=style.is_gated,
            activation=style.activation,
            **self._options,
            name=name,
        )
        return mlp(x, context.channels)

    @property
    def _options(self) -> dict[str, Any]:
        """What all sublayers have in common."""
        style = self.tower.style
        return dict(
            dtype=jnp.dtype(self.compute.dtype),
            out_scale=self.out_scale,
            norm=style.norm if style.norm_at == "input" else None,
            epsilon=self.tower.epsilon,
            axis=self.tower.axis,
            bias=style.bias is True,
        )


def apply_layers(
    tower: TowerConfig,
    compute: Compute,
    variables: Mapping[str, Mapping[str, PyTree]],
    x: Float[Array, "*batch D"],
    context: Context,
    *,
    keep: bool,
    memory_axis: str = "",
) -> Streams:
    """Returns the residual stream after each layer, or after the last if not `keep`.

    Args:
        tower: The tower.
        compute: How it computes.
        variables: The tower's collections, in each of which layers stand by their
            names, or stacked with those of their run.
        x: The residual stream before the first layer.
        context: What all layers are given.
        keep: Whether streams between layers are asked for.
        memory_axis: Name of the width of what cross-attention reads.
    """
    streams, plain = [x], dataclasses.replace(tower, layers=())
    for shape, numbers in runs_of(tower.layers):
        is_loop = is_scanned(compute.scan_layers, len(numbers))
        options = native.is_enabled(), is_loop, memory_axis
        fn = layer_fn(shape, plain, compute, *options)
        run = _scan if is_loop else _unroll
        apply = functools.partial(_apply_layer, fn, context)
        streams += run(apply, streams[-1], variables, numbers, keep=keep)
        streams = streams if keep else streams[-1:]
    return streams[1:] if keep else streams


def _apply_layer(
    fn: Callable[..., Array], context: Context, x: Array, layer: PyTree, number: Any
) -> Array:
    return fn(layer, x, context.of_layer(number))


def _unroll(
    apply: Callable, x: Array, variables: Mapping[str, Any], run: Numbers, *, keep: bool
) -> Streams:
    streams = [x]
    for number in run:
        layer = _variables_of(variables, layer_name(number))
        streams.append(apply(streams[-1], layer, number))
    return streams[1:] if keep else streams[-1:]


def _scan(
    apply: Callable, x: Array, variables: Mapping[str, Any], run: Numbers, *, keep: bool
) -> Streams:
    def step(x: Array, layer: PyTree) -> tuple[Array, Array | None]:
        x = apply(x, *layer)
        return x, x if keep else None

    own = Run("", run)
    stacked = {kind: stack_run(tree, own) for kind, tree in variables.items()}
    layers = _variables_of(stacked, own.name), jnp.array(run)
    last, streams = jax.lax.scan(step, x, layers, length=len(run))
    return [last] if streams is None else list(streams)


def _variables_of(variables: Mapping[str, Any], name: str) -> PyTree:
    """Returns the collections of one layer or run; one without sublayers has none."""
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}


@functools.lru_cache(maxsize=256)
def layer_fn(
    shape: LayerConfig,
    tower: TowerConfig,
    compute: Compute,
    with_kernels: bool,
    in_loop: bool,
    memory_axis: str = "",
) -> Callable[..., Float[Array, "B T D"]]:
    """Returns the pure function (variables, x, context) -> x of a layer.

    It is the same function for the same arguments, so that layers of one shape are
    traced once, and a model that is called outside of `jax.jit` compiles them once.

    Args:
        shape: The layer's shape.
        tower: The tower it stands in, without its layers.
        compute: How it computes.
        with_kernels: Whether `slimjax.native` is enabled: what is traced with the
            kernels is not valid without them.
        in_loop: Whether it is the body of a loop, where the compiler needs not be kept
            from finding out that it computes something twice.
        memory_axis: Name of the width of what cross-attention reads.
    """
    layer = Layer(shape, tower, compute, memory_axis, parent=None)

    def apply(variables: PyTree, x: Array, context: Context) -> Array:
        return layer.apply(variables, x, context)  # pyright: ignore

    policies = {
        "full": jax.checkpoint_policies.nothing_saveable,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
    if compute.remat != "none":
        policy = policies[compute.remat]
        apply = jax.checkpoint(apply, policy=policy, prevent_cse=not in_loop)
    elif in_loop and with_kernels:
        apply = jax.checkpoint(apply, policy=_is_kernel, prevent_cse=False)
    return jax.jit(apply)


def _is_kernel(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether a result is kept for the backward pass of a loop over layers."""
    return primitive.name == "ffi_call"
