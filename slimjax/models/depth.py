"""Many layers, one after the other.

Layers of one shape that follow each other are a run (`slimjax.models.runs`). A run is
traced once; where it is *scanned*, it is also compiled once, as a loop over its
weights, so that compile time hardly grows with depth.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax import native
from slimjax.models.context import Context
from slimjax.models.layer import Layer, Streams
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.runs import Numbers, Run, is_scanned, runs_of, stack_run
from slimjax.models.tower_config import Compute, TowerConfig


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
