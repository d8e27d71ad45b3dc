"""Shapes of models by their usual names: functions that return a `ModelConfig`."""

import dataclasses
from typing import Any

from slimjax.models.config import ModelConfig
from slimjax.models.fusing import captioner as captioner
from slimjax.models.fusing import fusion as fusion
from slimjax.models.head import HeadConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.options import next_token as next_token
from slimjax.models.options import split_options
from slimjax.models.style import BERT, LLAMA, T5, Style
from slimjax.models.tower_config import TowerConfig

Layers = tuple[LayerConfig, ...]


def decoder(
    vocab_size: int,
    width: int,
    layers: Layers,
    *,
    heads: tuple[HeadConfig, ...] | None = None,
    style: Style = LLAMA,
    **options: Any,
) -> ModelConfig:
    """Returns a decoder, which predicts each token from those before it.

    Args:
        vocab_size: Tokens, V.
        width: Width of the residual stream, D.
        layers: The layers.
        heads: What it answers; by default the next token.
        style: How its layers compute.
        **options: Fields of `ModelConfig` and `TowerConfig`.

    Examples:
        >>> layer = LayerConfig(num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=16)
        >>> model = decoder(100, 8, (layer,) * 3)
        >>> model.width, model.num_layers, model.heads[0].name
        (8, 3, 'tokens')
    """
    compute, own = split_options(options)
    tower = TowerConfig("", width, layers, style, num_inputs=vocab_size, **own)
    return ModelConfig((tower,), heads or next_token(vocab_size, style), **compute)


def encoder(
    vocab_size: int,
    width: int,
    layers: Layers,
    *,
    heads: tuple[HeadConfig, ...],
    style: Style = BERT,
    **options: Any,
) -> ModelConfig:
    """Returns an encoder, each of whose positions sees all others.

    The arguments are those of `decoder`.
    """
    style = dataclasses.replace(style, sees="all")
    return decoder(vocab_size, width, layers, heads=heads, style=style, **options)


def encoder_decoder(
    vocab_size: int,
    width: int,
    layers: Layers,
    *,
    encoder_layers: Layers,
    encoder_width: int = 0,
    source_vocab_size: int = 0,
    heads: tuple[HeadConfig, ...] | None = None,
    style: Style = T5,
    **options: Any,
) -> ModelConfig:
    """Returns a decoder with cross-attention to an encoder of the input ``source``.

    Args:
        vocab_size: Tokens of both, V.
        width: Width of the decoder's residual stream.
        layers: Layers of the decoder, with `LayerConfig.cross_heads`.
        encoder_layers: Layers of the encoder.
        encoder_width: Width of the encoder's own residual stream and table of tokens;
            0 for one table, whose channels both streams share.
        source_vocab_size: Tokens of the encoder's own table; 0 for V.
        heads: What the decoder answers; by default the next token.
        style: How all layers compute.
        **options: Fields of `ModelConfig` and `TowerConfig`.
    """
    compute, own = split_options(options)
    table: dict[str, Any] = dict(num_inputs=vocab_size, **own)
    past, full = (dataclasses.replace(style, sees=sees) for sees in ("past", "all"))
    other = dict(axis="encoder_embed") if encoder_width else dict(table_of="")
    named: dict[str, Any] = dict(reads="source", **table) | other
    if encoder_width and source_vocab_size:
        named["num_inputs"] = source_vocab_size
    source = TowerConfig(
        "encoder", encoder_width or width, encoder_layers, full, **named
    )
    main = TowerConfig("", width, layers, past, memory="encoder", **table)
    heads = heads or next_token(vocab_size, style)
    return ModelConfig((source, main), heads, **compute)


def mlp(
    num_features: int,
    num_units: int,
    *,
    heads: tuple[HeadConfig, ...],
    activation: str = "sigmoid",
    **options: Any,
) -> ModelConfig:
    """Returns a plain perceptron: features, one layer of hidden units, and heads.

    Its hidden units are the channels of its residual stream, on the axis ``mlp``, so
    that they are removed like those of any MLP.

    Args:
        num_features: Numbers that it reads.
        num_units: Hidden units.
        heads: What it answers.
        activation: That of the hidden units.
        **options: Fields of `ModelConfig` and `TowerConfig`.

    Examples:
        The textbook's case: two inputs, two sigmoid units, two sigmoid outputs, binary
        cross entropy summed over the outputs, one step of gradient descent. With
        ``z = W a + b`` the gradient of W is ``dz a^T``. The kernel of the hidden units
        is stored as ``[features, units]``, the transpose of W; a head's table
        ``[answers, units]`` is W itself.

        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from slimjax.nn.losses import binary_nats
        >>> head = HeadConfig("y", 2, at="first", loss="binary", bias=True)
        >>> model = mlp(2, 2, heads=(head,))
        >>> x, y, rate = np.array([1.0, 2.0]), np.array([0.1, 0.9]), 0.5
        >>> w1, b1 = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([0.5, 0.6])
        >>> w2, b2 = np.array([[0.7, -0.8], [0.9, 1.0]]), np.array([0.1, -0.2])
        >>> params = {"features": {"kernel": w1.T, "bias": b1[None]}}
        >>> params |= {"y_head": {"table": w2, "bias": b2}}
        >>> params = jax.tree.map(jnp.float32, params)
        >>> def loss(params):
        ...     variables = {"params": params, "gates": {"mlp": jnp.ones(2)}}
        ...     inputs = {"features": jnp.float32(x)[None]}
        ...     readout = model.module().apply(variables, inputs)["y"]
        ...     return binary_nats(readout.logits(), jnp.float32(y)[None]).sum()
        >>> value, grads = jax.value_and_grad(loss)(params)
        >>> step = jax.tree.map(lambda p, g: p - rate * g, params, grads)

        By hand:

        >>> sigmoid = lambda z: 1 / (1 + np.exp(-z))
        >>> a = sigmoid(w1 @ x + b1)
        >>> p = sigmoid(w2 @ a + b2)
        >>> nats = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
        >>> dz2 = p - y
        >>> dz1 = (w2.T @ dz2) * a * (1 - a)
        >>> same = lambda one, other: bool(np.abs(one - other).max() < 1e-6)
        >>> round(float(value), 4), same(value, nats)
        (1.0384, True)
        >>> same(grads["y_head"]["table"], np.outer(dz2, a))
        True
        >>> same(grads["features"]["kernel"], np.outer(dz1, x).T)
        True
        >>> same(grads["y_head"]["bias"], dz2), same(grads["features"]["bias"][0], dz1)
        (True, True)
        >>> same(step["y_head"]["table"], w2 - rate * np.outer(dz2, a))
        True
        >>> same(step["features"]["kernel"], (w1 - rate * np.outer(dz1, x)).T)
        True
    """
    compute, own = split_options(options)
    stem = dict(stem="features", reads="features", axis="mlp")
    own = dict[str, Any](stem) | own
    style = Style(bias=True, positions="none", tied=False, sees="all")
    tower = TowerConfig(
        *("", num_units, (), style),
        **own,
        num_inputs=num_features,
        activation=activation,
    )
    return ModelConfig((tower,), heads, **compute)
