"""A decoder language model, each of whose layers may have a shape of its own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from slimjax import native
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.nn.attention import Attention
from slimjax.nn.cache import LayerCache, empty_cache
from slimjax.nn.cross_entropy import Scores
from slimjax.nn.embed import TiedEmbedding
from slimjax.nn.gates import CHANNELS, gate
from slimjax.nn.mlp import GatedMLP
from slimjax.nn.moments import wants_moments
from slimjax.nn.norm import RMSNorm

Cache = tuple[LayerCache | None, ...]


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
            x = x + attention(x, positions, channels)
        if self.layer.mlp:
            mlp = GatedMLP(self.layer.mlp_dim, dtype, out_scale, name="mlp")
            x = x + mlp(x, channels)
        return x


class Decoder(nn.Module):
    """Pre-norm decoder with RMSNorm, rotary positions, GQA, SwiGLU, tied embedding.

    Collections: ``params`` (weights) and ``gates`` (see `slimjax.nn.gates`), of which
    ``embed [D]``, at the root, are those of the channels of the residual stream.

    References:
        Touvron et al., "LLaMA", 2023, section 2.2.
    """

    config: ModelConfig

    def setup(self) -> None:
        """Makes the parts."""
        config = self.config
        self.channels = gate(self, CHANNELS, config.width)
        self.embed = TiedEmbedding(
            config.vocab_size,
            config.width,
            config.embed_scale,
            jnp.dtype(config.dtype),
            name="tokens",
        )
        self.layers = [
            Layer(layer, config, name=f"layer_{i}")
            for i, layer in enumerate(config.layers)
        ]
        self.norm = RMSNorm()

    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        """Returns the logits of the token that follows each position."""
        return self.embed.logits(self.hidden(tokens), self.channels)

    def nats(
        self, inputs: Int[Array, "B T"], targets: Int[Array, "B T"]
    ) -> Float[Array, "B T"]:
        """Returns ``-log p(target)`` at each position, logits never kept whole."""
        return self.scores(inputs, targets).nats

    def scores(self, inputs: Int[Array, "B T"], targets: Int[Array, "B T"]) -> Scores:
        """Returns what losses need to know of the logits at each position."""
        return self.embed.scores(self.hidden(inputs), targets, self.channels)

    def outputs(
        self, inputs: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], Float[Array, "V D"], list[Float[Array, "B T D"]]]:
        """Returns x and table, with logits ``x @ table.T``, and the streams."""
        streams = self.streams(inputs)
        x = self.norm(streams[-1], self.channels) * self.channels[None, None]
        return x, self.embed.embedding, streams

    def hidden(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Returns the normalised residual stream after the last layer."""
        return self.norm(self.streams(tokens)[-1], self.channels)

    def streams(self, tokens: Int[Array, "B T"]) -> list[Float[Array, "B T D"]]:
        """Returns the residual stream before the first layer and after each."""
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        xs = [self.embed(tokens, self.channels)]
        if self.is_initializing() or wants_moments(self):
            for layer in self.layers:
                xs.append(layer(xs[-1], positions, self.channels))
            return xs
        for number, shape in enumerate(self.config.layers):
            apply = layer_fn(shape, self.config, native.is_enabled())
            variables = self._layer_variables(number)
            xs.append(apply(variables, xs[-1], positions, self.channels))
        return xs

    def _layer_variables(self, number: int) -> PyTree:
        """Returns the collections of one layer; one without sublayers has none."""
        name = f"layer_{number}"
        return {
            kind: tree[name] for kind, tree in self.variables.items() if name in tree
        }


@functools.lru_cache(maxsize=256)
def layer_fn(
    shape: LayerConfig,
    config: ModelConfig,
    with_kernels: bool,  # noqa: ARG001
) -> Callable[..., Float[Array, "B T D"]]:
    """Returns the pure function (variables, x, positions, channels) -> x of a layer.

    It is the same function for the same arguments, so that layers of one shape are
    traced once, and a model that is called outside of `jax.jit` compiles them once.

    Args:
        shape: The layer's shape.
        config: The model it stands in.
        with_kernels: Whether `slimjax.native` is enabled: what is traced with the
            kernels is no answer without them.
    """
    layer = Layer(shape, config, parent=None)

    def apply(variables: PyTree, x: Array, positions: Array, channels: Array) -> Array:
        return layer.apply(variables, x, positions, channels)  # pyright: ignore

    policies = {
        "full": jax.checkpoint_policies.nothing_saveable,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
    if config.remat != "none":
        apply = jax.checkpoint(apply, policy=policies[config.remat])
    return jax.jit(apply)


def abstract_variables(config: ModelConfig) -> PyTree:
    """Returns the shapes of weights and gates, boxed with the names of their axes.

    Nothing is computed, so this is cheap for a model of any size.
    """
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return dict(jax.eval_shape(Decoder(config).init, jax.random.key(0), tokens))


def make_cache(config: ModelConfig, batch_size: int, length: int) -> Cache:
    """Returns an empty KV cache; layers without attention have None."""

    def layer_cache(layer: LayerConfig) -> LayerCache | None:
        if not layer.attention:
            return None
        return empty_cache(
            batch_size, length, layer.num_kv_heads, layer.head_dim, config.dtype
        )

    return tuple(layer_cache(layer) for layer in config.layers)


def config_of(config: ModelConfig, params: PyTree) -> ModelConfig:
    """Returns `config` with the width and layers that `params` have, as after a cut.

    Args:
        config: The shape before; its layers say what a removed sublayer was.
        params: Weights, arrays or shapes, of a decoder with as many layers.
    """
    layers = []
    for i, layer in enumerate(config.layers):
        parts = params.get(f"layer_{i}", {})
        changes: dict[str, Any] = {
            "attention": "attention" in parts,
            "mlp": "mlp" in parts,
        }
        if changes["attention"]:
            _, num_heads, head_dim = parts["attention"]["query"].shape
            num_kv_heads = parts["attention"]["key"].shape[1]
            changes |= dict(num_heads=num_heads, num_kv_heads=num_kv_heads)
            changes |= dict(head_dim=head_dim)
        else:
            changes |= dict(num_heads=0, num_kv_heads=0)
        changes["mlp_dim"] = parts["mlp"]["down"].shape[0] if changes["mlp"] else 0
        layers.append(dataclasses.replace(layer, **changes))
    width = params["tokens"]["embedding"].shape[1]
    return dataclasses.replace(config, width=width, layers=tuple(layers))
