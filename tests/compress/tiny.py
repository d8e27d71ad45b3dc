"""Tiny models with random weights, and rows for them."""

import jax
import numpy as np
from flax import linen as nn

from slimjax.compress.walk import Rows, Walk
from slimjax.models import BERT, LLAMA, HeadConfig, LayerConfig, decoder, encoder

SHAPES = (
    LayerConfig(6, 3, 4, 24),
    LayerConfig(6, 3, 4, 24),
    LayerConfig(4, 2, 4, 17),
)


def make_decoder(style=LLAMA, layers=SHAPES, **options):
    """Returns a decoder, its variables as host arrays, and the walk."""
    if style.positions == "learned":
        options["num_positions"] = 12
    return with_variables(
        decoder(29, 16, layers, style=style, attention_impl="reference", **options)
    )


def make_encoder(style=BERT, layers=SHAPES):
    heads = (HeadConfig("label", 3, at="mean", bias=True),)
    return with_variables(
        encoder(
            *(29, 16, layers),
            heads=heads,
            style=style,
            num_positions=12,
            attention_impl="reference",
        )
    )


def with_variables(model):
    found = nn.meta.unbox(model.init(jax.random.key(0)))
    source = np.random.default_rng(0)

    def draw(leaf):
        noise = source.standard_normal(leaf.shape) * 0.3
        return (np.asarray(leaf) + noise).astype(np.float32)

    params = jax.tree.map(draw, found["params"])
    gates = jax.tree.map(np.asarray, found["gates"])
    return model, {"params": params, "gates": gates}, Walk(model)


def draw_rows(num_rows=10, length=9, seed=0, targets=None):
    """Returns rows of tokens; each text repeats itself, so that there is a pattern."""
    source = np.random.default_rng(seed)
    tokens = source.integers(0, 29, (num_rows, length + 1)).astype(np.int32)
    tokens[:, 1::2] = (tokens[:, 0:-1:2] * 3 + 1) % 29
    if targets == "row":
        labels = tokens[:, 0] % 3
        ones = np.ones(num_rows, np.float32)
        return Rows({"tokens": tokens[:, :-1]}, labels, ones)
    ones = np.ones((num_rows, length), np.float32)
    return Rows({"tokens": tokens[:, :-1]}, tokens[:, 1:], ones)
