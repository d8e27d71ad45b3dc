"""Vectors of tokens from their bytes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.spelling import FIRST_SILENT, spell
from slimjax.models.build import build_model
from slimjax.models.config import ModelSettings
from slimjax.models.head import HeadConfig
from slimjax.nn.characters import NUM_CODES, TAPS, Characters
from slimjax.tasks import classification
from slimjax.tasks.spelling import with_bytes

B, T, L, E, D = 2, 3, 4, 5, 6


def textbook(params, codes):
    """Returns the vector of one token by loops."""
    x = np.zeros((len(codes) + TAPS - 1, E))
    for i, code in enumerate(codes):
        if code:
            x[i + TAPS // 2] = params["bytes"][code] + params["places"][i]
    best = np.zeros(D)
    for i, code in enumerate(codes):
        if code:
            out = np.einsum("te,ted->d", x[i : i + TAPS], params["kernel"])
            best = np.maximum(best, np.maximum(out + params["bias"][0], 0))
    return best


def test_vectors_are_those_of_the_formula():
    draw = np.random.default_rng(0)
    codes = draw.integers(1, 250, (B, T, L))
    codes[0, 0, 2:] = 0
    codes[1, 2] = 0
    shapes = dict(bytes=(NUM_CODES, E), places=(L, E), kernel=(TAPS, E, D), bias=(1, D))
    params = {k: draw.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    layer, channels = Characters(D, E, L), np.ones(D, np.float32)
    actual = jax.jit(layer.apply)({"params": params}, codes, channels)
    expected = [[textbook(params, token) for token in row] for row in codes]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert (np.asarray(actual)[1, 2] == 0).all()


def test_a_token_without_bytes_has_a_number_of_its_own():
    rows = spell(BytesTokenizer(), 2)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert FIRST_SILENT <= rows[:3, 0].min() <= rows.max() < NUM_CODES


@pytest.mark.parametrize("token_table", [True, False])
def test_a_model_reads_the_bytes_of_its_tokens(token_table):
    settings = ModelSettings(
        *("encoder", 8, 1),
        num_heads=2,
        mlp_dim=6,
        stem="characters",
        token_table=token_table,
        token_bytes=3,
        byte_dim=4,
    )
    heads = (HeadConfig("label", 3, at="first", bias=True),)
    config = build_model(settings, {"vocab": 259, "classes": 3}, heads, {"": 5})
    tokenizer = BytesTokenizer()
    task = classification.make_task(tokenizer.special)
    task = with_bytes(task, config, {"tokens": tokenizer})
    batch = {"tokens": jnp.array([[1, 70, 71, 2, 0]])}
    inputs = task.inputs(batch, None)
    assert inputs["tokens_bytes"].tolist()[0][1] == [68, 0, 0]
    assert ("tokens" in config.abstract_variables()["params"]) is token_table
    plain = dataclasses.replace(config, dtype="float32")
    variables = jax.eval_shape(plain.init, jax.random.key(0))
    unboxed = jax.tree.map(
        lambda leaf: leaf.value, variables, is_leaf=lambda leaf: hasattr(leaf, "value")
    )
    read = lambda *given: plain.module().apply(*given)["label"].x
    assert jax.eval_shape(read, unboxed, inputs).shape == (1, 8)
