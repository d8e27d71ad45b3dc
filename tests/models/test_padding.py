"""A row is answered alike whatever stands behind it or beside it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import CLASSES, LENGTH, STYLES, make_variables, many

from slimjax.models import (
    BERT,
    GPT2,
    T5,
    LayerConfig,
    ModelConfig,
    decoder,
    encoder,
    encoder_decoder,
)

MORE = 3
"""Positions of padding that are added."""
TOLERANCE = 2e-5  # Float32: sums over positions have another order.
CHARACTERS = dict(stem="characters", token_bytes=4, byte_dim=3)
CARRIED = LayerConfig(0, 0, 2, 5, attention=False, state_dim=4)
ACROSS = dataclasses.replace(CARRIED, cross_heads=2, cross_kv_heads=1)


def of_cell(style, cell: str):
    return dataclasses.replace(style, cell=cell, positions="none")


NAMED = {
    "rnn": decoder(11, 6, (CARRIED,) * 2, heads=CLASSES, style=of_cell(GPT2, "rnn")),
    "gru": encoder(11, 6, (CARRIED,) * 2, heads=CLASSES, style=of_cell(BERT, "gru")),
    "lstm": encoder_decoder(
        *(11, 6, (ACROSS,)), encoder_layers=(CARRIED,), style=of_cell(T5, "lstm")
    ),
    "characters": encoder(
        *(0, 6, (LayerConfig(2, 1, 2, 5),)),
        heads=CLASSES,
        style=dataclasses.replace(BERT, positions="none"),
        **CHARACTERS,
    ),
}


@st.composite
def readers(draw) -> ModelConfig:
    """Draws encoders and decoders that answer once for a row, and two towers."""
    style = draw(st.sampled_from(STYLES))
    options = dict(style=style, window=draw(st.sampled_from([0, 2])))
    options |= dict(attention_impl="reference", scan_layers=False)
    if style.positions in ("learned", "sinusoidal"):
        options["num_positions"] = LENGTH + MORE
    kind = draw(st.sampled_from([decoder, encoder, encoder_decoder]))
    own = dict(cell=style.cell)
    if kind is encoder_decoder:
        layers, source = many(draw, 2, cross=True, **own), many(draw, 2, **own)
        return encoder_decoder(11, 6, layers, encoder_layers=source, **options)
    head = dataclasses.replace(
        CLASSES[0], at=draw(st.sampled_from(["first", "mean", "max"]))
    )
    vocab_size = 11
    if kind is encoder and draw(st.booleans()):  # Characters alone, or with a table.
        options |= CHARACTERS
        vocab_size = draw(st.sampled_from([0, 11]))
    return kind(vocab_size, 6, many(draw, 2, **own), heads=(head,), **options)


def make_rows(config: ModelConfig, length: int, num_rows: int) -> dict:
    """Returns rows of `LENGTH` tokens and fewer, with padding up to a length."""
    inputs = {}
    for tower in config.towers:
        tokens = np.random.default_rng(0).integers(0, 11, (8, LENGTH))[:num_rows]
        there = np.arange(LENGTH)[None] < LENGTH - np.arange(num_rows)[:, None] % 3
        behind = ((0, 0), (0, length - LENGTH))
        padded = np.pad(np.where(there, tokens, 7), behind, constant_values=7)
        if tower.name == "" and len(config.towers) > 1:
            padded = padded[:, :LENGTH]  # What is written is not padded.
        inputs[tower.reads] = padded.astype(np.int32)
        if tower.token_bytes:  # Those of padding are no text, and no zeros either.
            codes = 1 + np.outer(padded, np.arange(1, tower.token_bytes + 1)) % 250
            spelled = codes.reshape(*padded.shape, -1)
            inputs[f"{tower.reads}_bytes"] = spelled.astype(np.int32)
        if tower.name or len(config.towers) == 1:
            segments = np.pad(there, behind).astype(np.int32)
            inputs[f"{tower.reads}_segments"] = segments
    return inputs


def answers(config: ModelConfig, variables, inputs) -> np.ndarray:
    readouts = config.module().apply(variables, jax.tree.map(jnp.asarray, inputs))
    return np.asarray(readouts[config.heads[0].name].logits())


@settings(max_examples=4, deadline=None)
@given(config=readers())
def test_padding_and_other_rows_change_no_answer(config):
    check(config)


@pytest.mark.parametrize("name", NAMED)
def test_padding_leaves_no_trace_in_states_and_characters(name):
    check(NAMED[name])


def check(config: ModelConfig) -> None:
    """Compares the answers of rows with those with padding, and in company."""
    variables, _ = make_variables(config)
    plain = answers(config, variables, make_rows(config, LENGTH, 3))
    padded = answers(config, variables, make_rows(config, LENGTH + MORE, 3))
    np.testing.assert_allclose(padded, plain, atol=TOLERANCE, rtol=TOLERANCE)
    one = answers(config, variables, make_rows(config, LENGTH, 1))
    np.testing.assert_allclose(one, plain[:1], atol=TOLERANCE, rtol=TOLERANCE)
