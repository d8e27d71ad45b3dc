"""Models that write with a cache; one kind of decoder has kernels of its own."""

import dataclasses
from functools import partial
from typing import Any

import jax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from slimjax import native
from slimjax.errors import ConfigError, suggest
from slimjax.models.config import ModelConfig
from slimjax.models.decoding import (
    WEIGHTS,
    DecodingModel,
    can_decode,
    is_known,
    make_decoding_model,
    make_layers_cache,
)
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.style import LLAMA
from slimjax.nn.axes import is_spread
from slimjax.nn.cache import LayerCache, empty_cache
from slimjax.nn.frozen import FORMATS, freeze
from slimjax.nn.frozen_layers import (
    FrozenAttention,
    FrozenEmbedding,
    FrozenMLP,
    freeze_attention,
    freeze_mlp,
    norm_of_open,
)
from slimjax.nn.gates import CHANNELS
from slimjax.nn.norm import rms_norm

FrozenLayer = tuple[FrozenAttention | None, FrozenMLP | None]

Cache = tuple[LayerCache | None, ...]
"""Keys and values of each layer; None for one without attention."""


@struct.dataclass
class FrozenDecoder:
    """What a decoder computes, with a cache and without gates.

    Attributes:
        embed: The table of tokens.
        layers: Attention and MLP of each layer, None where there is none.
        norm: Scale of the last normalisation, ``[D]``.
        config: The shape.
        weights: Format of the weights: float32, bfloat16 or int8.
    """

    embed: FrozenEmbedding
    layers: tuple[FrozenLayer, ...]
    norm: PyTree
    config: ModelConfig = struct.field(pytree_node=False)
    weights: str = struct.field(pytree_node=False)

    def __call__(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], cache: Cache
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Returns the residual stream after the last layer, and the next cache.

        Args:
            tokens: The next tokens of each row.
            positions: Where they stand, consecutive in each row.
            cache: What the rows have seen before, as `make_cache` makes it.
        """
        main, caches = self.config.main, []
        x = self.embed(tokens, main.width) * main.embed_scale
        for (attention, mlp), layer_cache in zip(self.layers, cache, strict=True):
            if attention is not None and layer_cache is not None:
                x, layer_cache = attention(x, positions, layer_cache)
            x = x if mlp is None else mlp(x)
            caches.append(layer_cache)
        return x, tuple(caches)

    def logits(
        self, x: Float[Array, "*batch D"], cache: Any = None
    ) -> Float[Array, "*batch V"]:
        """Returns the scores of the token that follows, from the residual stream."""
        del cache
        return self.embed.logits(rms_norm(x, self.norm, self.config.main.epsilon))

    def make_cache(self, batch_size: int, length: int) -> Cache:
        """Returns an empty cache: float32 beside such weights, else bfloat16."""
        dtype = "float32" if self.weights == "float32" else "bfloat16"
        config = dataclasses.replace(self.config, dtype=dtype)
        return make_cache(config, batch_size, length)


def make_cache(
    config: ModelConfig, batch_size: int, length: int, source_length: int = 0
) -> PyTree:
    """Returns an empty cache of what rows read.

    Args:
        config: The shape.
        batch_size: Rows.
        length: Longest text.
        source_length: Positions of what cross-attention reads.
    """
    if not can_cache(config):
        return make_layers_cache(config, batch_size, length, source_length)

    def layer_cache(layer: LayerConfig) -> LayerCache | None:
        if not layer.attention:
            return None
        return empty_cache(
            batch_size, length, layer.num_kv_heads, layer.head_dim, config.dtype
        )

    return tuple(layer_cache(layer) for layer in config.layers)


def can_cache(config: ModelConfig) -> bool:
    """Whether there are kernels that generate with such a model and a cache."""
    main = config.main
    return (
        len(config.towers) == 1
        and main.style == LLAMA
        and main.stem == "tokens"
        and not (main.window or main.token_types or main.num_positions)
        and not main.attention_scale
        and not main.domains
        and [(head.table, head.is_bare) for head in config.heads] == [("tied", True)]
    )


def freeze_decoder(
    config: ModelConfig, variables: PyTree, weights: str = ""
) -> FrozenDecoder | DecodingModel:
    """Prepares a model's variables for generating.

    Those that lie on several devices stay there, and these share the work.

    Args:
        config: The model's shape.
        variables: ``{"params": ..., "gates": ...}``; gates are folded in.
        weights: Format of all matrices: float32, bfloat16 or int8 (with a scale for
            each column, activations becoming int8 on the fly), the last only for
            decoders of Llama's style; by default the dtype of the model.

    Raises:
        ConfigError: If there is no such format, or the model does not write.
    """
    weights = weights or config.dtype
    if weights not in FORMATS:
        raise ConfigError(
            f"weights={weights!r} is unknown. {suggest(weights, FORMATS)}"
        )
    # Kernels are for one device, which would need all weights.
    is_apart = is_known(variables) and is_spread(variables)
    if is_apart or not can_cache(config):
        if not can_decode(config):
            raise ConfigError(
                "This model writes no text: it does not answer with the next token, or "
                "its positions see those that follow."
            )
        if weights not in WEIGHTS:
            raise ConfigError(
                f"weights={weights!r} is for decoders of config.model.style='llama' on "
                "one device. Take weights='bfloat16'."
            )
        return make_decoding_model(config, variables, weights)
    return _freeze(config, variables, weights, native.is_enabled())


@partial(jax.jit, static_argnums=(0, 2, 3))
def _freeze(
    config: ModelConfig, variables: PyTree, weights: str, in_panels: bool
) -> FrozenDecoder:
    params, gates = variables["params"], variables["gates"]
    to_format = partial(freeze, weights=weights, in_panels=in_panels)
    channels, main = gates[CHANNELS], config.main
    turning, epsilon = (main.rope_base, main.rope_scaling), main.epsilon

    def freeze_layer(i: int) -> FrozenLayer:
        own, gating = (tree.get(layer_name(i), {}) for tree in (params, gates))
        attention = mlp = None
        if "attention" in own:
            parts = own["attention"], gating["attention"]
            attention = freeze_attention(*parts, channels, turning, epsilon, to_format)
        if "mlp" in own:
            parts = own["mlp"], gating["mlp"]
            mlp = freeze_mlp(*parts, channels, epsilon, to_format)
        return attention, mlp

    return FrozenDecoder(
        FrozenEmbedding(to_format((params["tokens"]["embedding"] * channels[None]).T)),
        tuple(freeze_layer(i) for i in range(len(config.layers))),
        norm_of_open(params["norm"]["scale"], channels),
        config,
        weights,
    )
