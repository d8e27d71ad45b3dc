"""A row is answered alike whatever stands behind it or beside it."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import CLASSES, LENGTH, STYLES, make_variables, many

from slimjax.models import ModelConfig, decoder, encoder, encoder_decoder

MORE = 3
"""Positions of padding that are added."""
TOLERANCE = 2e-5  # Float32: sums over positions have another order.


@st.composite
def readers(draw) -> ModelConfig:
    """Draws encoders and decoders that answer once for a row, and two towers."""
    style = draw(st.sampled_from(STYLES))
    options = dict(style=style, window=draw(st.sampled_from([0, 2])))
    options |= dict(attention_impl="reference", scan_layers=False)
    if style.positions in ("learned", "sinusoidal"):
        options["num_positions"] = LENGTH + MORE
    kind = draw(st.sampled_from([decoder, encoder, encoder_decoder]))
    if kind is encoder_decoder:
        own, source = many(draw, 2, cross=True), many(draw, 2)
        return encoder_decoder(11, 6, own, encoder_layers=source, **options)
    head = dataclasses.replace(
        CLASSES[0], at=draw(st.sampled_from(["first", "mean", "max"]))
    )
    return kind(11, 6, many(draw, 2), heads=(head,), **options)


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
        if tower.name or len(config.towers) == 1:
            segments = np.pad(there, behind).astype(np.int32)
            inputs[f"{tower.reads}_segments"] = segments
    return inputs


def answers(config: ModelConfig, variables, inputs) -> np.ndarray:
    readouts = config.module().apply(variables, inputs)
    return np.asarray(readouts[config.heads[0].name].logits())


@settings(max_examples=4, deadline=None)
@given(config=readers())
def test_padding_and_other_rows_change_no_answer(config):
    variables, _ = make_variables(config)
    plain = answers(config, variables, make_rows(config, LENGTH, 3))
    padded = answers(config, variables, make_rows(config, LENGTH + MORE, 3))
    np.testing.assert_allclose(padded, plain, atol=TOLERANCE, rtol=TOLERANCE)
    one = answers(config, variables, make_rows(config, LENGTH, 1))
    np.testing.assert_allclose(one, plain[:1], atol=TOLERANCE, rtol=TOLERANCE)
