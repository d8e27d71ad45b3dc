"""Tiny models with random weights, and rows for them."""

from typing import Any

import jax
import numpy as np
from flax import linen as nn

from slimjax.compress.rows import Rows
from slimjax.compress.walk import Walk
from slimjax.models import (
    BERT,
    LLAMA,
    T5,
    HeadConfig,
    LayerConfig,
    decoder,
    encoder,
    encoder_decoder,
)

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


def make_encoder(style=BERT, layers=SHAPES, head=None):
    heads = (head or HeadConfig("label", 3, at="mean", bias=True),)
    return with_variables(
        encoder(
            *(29, 16, layers),
            heads=heads,
            style=style,
            num_positions=12,
            attention_impl="reference",
        )
    )


def make_pair(**options):
    """Returns an encoder-decoder, its variables as host arrays, and the walk."""
    layers = tuple(
        LayerConfig(n, k, 4, f, cross_heads=6, cross_kv_heads=3)
        for n, k, f in ((6, 3, 20), (4, 2, 17))
    )
    usual: dict[str, Any] = dict(encoder_layers=SHAPES[1:], style=T5, buckets=(8, 20))
    return with_variables(
        encoder_decoder(29, 16, layers, attention_impl="reference", **(usual | options))
    )


def draw_pairs(num_rows=10, length=9, source_length=7, seed=0):
    """Returns rows of sources and targets, some of whose ends are padding."""
    rows = draw_rows(num_rows, length, seed)
    source = np.random.default_rng(seed + 1)
    tokens = source.integers(0, 29, (num_rows, source_length)).astype(np.int32)
    tokens[:, 0] = rows.targets[:, 0]
    segments = np.ones_like(tokens)
    segments[::2, -2:] = 0
    is_target = np.ones((num_rows, length), np.float32)
    is_target[::3, -3:] = 0
    inputs = {"source": tokens, "source_segments": segments, **rows.inputs}
    inputs["tokens_segments"] = is_target.astype(np.int32)
    return Rows(inputs, rows.targets, is_target)


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
