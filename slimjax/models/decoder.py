"""A decoder language model, each of whose layers may have a shape of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.layer import Layer, apply_layers
from slimjax.nn.cache import LayerCache, empty_cache
from slimjax.nn.embed import TiedEmbedding
from slimjax.nn.gates import CHANNELS, gate
from slimjax.nn.moments import wants_moments
from slimjax.nn.norm import RMSNorm
from slimjax.nn.readout import Readout

Cache = tuple[LayerCache | None, ...]


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

    def __call__(
        self, inputs: Mapping[str, Array], key: Array | None = None
    ) -> dict[str, Readout]:
        """Returns the readout of each head.

        Args:
            inputs: ``tokens`` int32 [B T].
            key: Root of all randomness inside of the model; None for none of it.
        """
        x = self._read_out(self.streams(inputs, key, keep=False)[-1])
        return {"tokens": x}

    def outputs(
        self, inputs: Mapping[str, Array], key: Array | None = None
    ) -> tuple[dict[str, Readout], list[Float[Array, "B T D"]]]:
        """Returns the readouts and the residual streams, see `streams`."""
        streams = self.streams(inputs, key)
        return {"tokens": self._read_out(streams[-1])}, streams

    def _read_out(self, x: Float[Array, "B T D"]) -> Readout:
        x = self.norm(x, self.channels) * self.channels[None, None]
        dtype = jnp.dtype(self.config.dtype)
        return Readout(x, self.embed.embedding, dtype=dtype)

    def streams(
        self,
        inputs: Mapping[str, Array],
        key: Array | None = None,
        *,
        keep: bool = True,
    ) -> list[Float[Array, "B T D"]]:
        """Returns the residual stream before the first layer and after each.

        If not `keep`, only the last one is sure to be there.
        """
        del key  # Nothing in here is random.
        tokens = inputs["tokens"]
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        xs = [self.embed(tokens, self.channels)]
        if self.is_initializing() or wants_moments(self):
            for layer in self.layers:
                xs.append(layer(xs[-1], positions, self.channels))
            return xs
        layers = apply_layers(
            self.config, self.variables, xs[0], positions, self.channels, keep=keep
        )
        return xs + layers


def abstract_variables(config: ModelConfig) -> PyTree:
    """Returns the shapes of weights and gates, boxed with the names of their axes.

    Nothing is computed, and each shape of a layer is traced once, so this is cheap for
    a model of any size.
    """
    kinds = tuple(dict.fromkeys(config.layers))
    inputs = {"tokens": jax.ShapeDtypeStruct((1, 2), jnp.int32)}
    model = Decoder(dataclasses.replace(config, layers=kinds))
    found = dict(jax.eval_shape(model.init, jax.random.key(0), inputs))

    def spread_layers(tree: dict) -> dict:
        spread = {k: v for k, v in tree.items() if not k.startswith("layer_")}
        for number, layer in enumerate(config.layers):
            own = tree.get(f"layer_{kinds.index(layer)}")
            if own is not None:
                spread[f"layer_{number}"] = jax.tree.map(lambda leaf: leaf, own)
        return spread

    return {kind: spread_layers(tree) for kind, tree in found.items()}


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
