"""What beam search promises: the best text there is, in any company."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import make_variables

from slimjax.generate.beam import Ends, search
from slimjax.generate.decode import generate_all
from slimjax.generate.decode_config import DecodeConfig
from slimjax.models import (
    GPT2,
    T5,
    HeadConfig,
    LayerConfig,
    decoder,
    encoder_decoder,
)
from slimjax.models.cached import freeze_decoder

EOS, PAD, VOCAB, ROOM = 2, 0, 5, 3
ENDS = Ends(EOS, PAD)
ACROSS = LayerConfig(2, 1, 2, 5, cross_heads=2, cross_kv_heads=1)
CONFIG = encoder_decoder(
    *(VOCAB, 6, (ACROSS,)),
    encoder_layers=(LayerConfig(2, 2, 2, 5),),
    heads=(HeadConfig("tokens", VOCAB, table="tied", copy_dim=3),),
    style=T5,
    attention_impl="reference",
)
SOURCE = {
    "source": np.array([[3, 4, 1, 0], [1, 3, 0, 0], [4, 4, 3, 1]], np.int32),
    "source_segments": np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], np.int32),
}
BOS = np.array([1], np.int32)


@pytest.fixture(scope="module")
def variables():
    weights = make_variables(CONFIG, seed=4)[0]
    weights["params"]["tokens"]["embedding"] *= 3.0  # Far from uniform.
    return weights


@pytest.fixture(scope="module")
def model(variables):
    return freeze_decoder(CONFIG, variables)


def all_texts(variables) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Returns every text of up to `ROOM` tokens that ends, and log p by row."""
    heads = [t for n in range(ROOM) for t in itertools.product(range(VOCAB), repeat=n)]
    texts = [head for head in heads if EOS not in head]
    padded = np.full((len(texts), ROOM), PAD, np.int32)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
        row[len(text)] = EOS
    shifted = np.concatenate([np.ones((len(texts), 1), np.int32), padded[:, :-1]], 1)
    module, scores = CONFIG.module(), []
    for i in range(len(SOURCE["source"])):
        source = {k: np.repeat(x[i : i + 1], len(texts), 0) for k, x in SOURCE.items()}
        inputs = jax.tree.map(jnp.asarray, {"tokens": shifted, **source})
        logits = module.apply(variables, inputs)["tokens"]
        log_p = jax.nn.log_softmax(logits.logits())
        own = np.take_along_axis(np.asarray(log_p), padded[..., None], -1)[..., 0]
        is_text = np.arange(ROOM)[None] <= np.array([len(t) for t in texts])[:, None]
        scores.append((own * is_text).sum(1))
    return texts, np.array(scores)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all_texts(variables, model, penalty):
    texts, scores = all_texts(variables)
    lengths = np.array([len(text) + 1 for text in texts])
    ranks = scores / ((5 + lengths) / 6) ** penalty
    decode = DecodeConfig(VOCAB**2, penalty, ROOM)
    rows, log_p = search(model, [BOS] * 3, ends=ENDS, decode=decode, source=SOURCE)
    for i, best in enumerate(ranks.argmax(1)):
        expected = np.full(ROOM, PAD)
        expected[: len(texts[best])] = texts[best]
        np.testing.assert_array_equal(rows[i], expected)
        assert log_p[i] == pytest.approx(scores[i, best], abs=1e-5)


def test_one_beam_is_greedy_decoding(model):
    decode = DecodeConfig(1, 0.0, 6)
    rows, _ = search(model, [BOS] * 3, ends=ENDS, decode=decode, source=SOURCE)
    greedy = generate_all(model, [BOS] * 3, max_new_tokens=6, eos_id=EOS, source=SOURCE)
    for row, text in zip(rows, greedy, strict=True):
        np.testing.assert_array_equal(row[: len(text)], text)
        assert (row[len(text) :] == PAD).all()


def test_a_row_is_the_same_alone_and_in_company(model):
    decode = DecodeConfig(3, 0.6, 8)
    rows, log_p = search(model, [BOS] * 3, ends=ENDS, decode=decode, source=SOURCE)
    for i in range(3):
        alone = {name: x[i : i + 1] for name, x in SOURCE.items()}
        row, own = search(model, [BOS], ends=ENDS, decode=decode, source=alone)
        np.testing.assert_array_equal(row[0], rows[i])
        assert own[0] == pytest.approx(log_p[i], abs=1e-5)


def test_beams_go_on_from_prompts_of_any_length():
    config = decoder(7, 6, (LayerConfig(2, 1, 2, 5),), style=GPT2, num_positions=12)
    model = freeze_decoder(config, make_variables(config, seed=1)[0])
    prompts = [np.array([1, 5, 3], np.int32), np.array([1], np.int32)]
    decode = DecodeConfig(1, 0.0, 5)
    rows, _ = search(model, prompts, ends=Ends(6, 0), decode=decode)
    greedy = generate_all(model, prompts, max_new_tokens=5, eos_id=6)
    for row, text in zip(rows, greedy, strict=True):
        np.testing.assert_array_equal(row[: len(text)], text)


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_one_beam_is_greedy_whatever_the_length_penalty(penalty):
    lengths = []
    for seed, eos in ((0, 4), (1, 1), (2, 3), (3, EOS)):
        weights = make_variables(CONFIG, seed=seed)[0]
        model = freeze_decoder(CONFIG, weights)
        given = dict(ends=Ends(eos, PAD), source=SOURCE)
        rows, _ = search(model, [BOS] * 3, decode=DecodeConfig(1, penalty, 9), **given)
        options = dict(max_new_tokens=9, eos_id=eos, source=SOURCE)
        greedy = generate_all(model, [BOS] * 3, **options)
        for row, text in zip(rows, greedy, strict=True):
            np.testing.assert_array_equal(row[: len(text)], text)
            assert (row[len(text) :] == PAD).all()
            lengths.append(len(text))
    assert any(0 < length < 9 for length in lengths)
