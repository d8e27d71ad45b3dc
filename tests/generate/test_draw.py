"""What drawn texts promise: the model's own probabilities, in any company."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import make_variables

from slimjax.errors import ConfigError
from slimjax.generate.beam import Ends
from slimjax.generate.decode import generate_all
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.draw import draw
from slimjax.generate.rows import write_rows
from slimjax.models import GPT2, T5, LayerConfig, decoder, encoder_decoder
from slimjax.models.cached import freeze_decoder

EOS, PAD, VOCAB, ROOM = 2, 0, 5, 2
ENDS = Ends(EOS, PAD)
SPECIAL = {"bos": 1, "eos": EOS, "pad": PAD}
CONFIG = encoder_decoder(
    *(VOCAB, 6, (LayerConfig(2, 1, 2, 5, cross_heads=2, cross_kv_heads=1),)),
    encoder_layers=(LayerConfig(2, 2, 2, 5),),
    style=T5,
    attention_impl="reference",
)
SOURCE = {
    "source": np.array([[3, 4, 1, 0], [1, 3, 0, 0], [4, 4, 3, 1]], np.int32),
    "source_segments": np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], np.int32),
}
BOS = np.array([1], np.int32)
NUM_DRAWN = 4_000


@pytest.fixture(scope="module")
def variables():
    weights = make_variables(CONFIG, seed=4)[0]
    weights["params"]["tokens"]["embedding"] *= 2.0  # Far from uniform.
    return weights


@pytest.fixture(scope="module")
def model(variables):
    return freeze_decoder(CONFIG, variables)


def make_keys(number: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), number)


def log_ps_of(variables, texts: list[tuple[int, ...]]) -> list[float]:
    """Returns log p of texts for the first source, by one pass over all of them."""
    rows = np.array([(*text, EOS)[:ROOM] for text in texts], np.int32)
    shifted = np.concatenate([np.ones((len(texts), 1), np.int32), rows[:, :-1]], 1)
    source = {name: np.repeat(x[:1], len(texts), 0) for name, x in SOURCE.items()}
    inputs = jax.tree.map(jnp.asarray, {"tokens": shifted, **source})
    logits = CONFIG.module().apply(variables, inputs)["tokens"].logits()
    each = np.take_along_axis(jax.nn.log_softmax(logits), rows[..., None], -1)[..., 0]
    return [float(own[: len(t)].sum()) for own, t in zip(each, texts, strict=True)]


def test_texts_come_as_often_as_they_are_likely(variables, model):
    source = {name: np.repeat(x[:1], NUM_DRAWN, 0) for name, x in SOURCE.items()}
    decode = DecodeConfig(1, 0.0, ROOM, temperature=1.0)
    keys = make_keys(NUM_DRAWN)
    own = dict(ends=ENDS, decode=decode, source=source)
    rows, log_p = draw(model, [BOS] * NUM_DRAWN, keys, **own)
    others = [token for token in range(VOCAB) if token not in (EOS, PAD)]
    texts = [(EOS,), *itertools.product(others, [*others, EOS])]
    for text, expected in zip(texts, log_ps_of(variables, texts), strict=True):
        shown = [token for token in text if token != EOS]
        padded = np.array(shown + [PAD] * (ROOM - len(shown)))
        found = (rows == padded).all(1)
        # The padding token may be drawn too, but another length then has its log p.
        found &= np.abs(log_p - expected) < 1e-4
        p = np.exp(expected)
        assert abs(found.mean() - p) < 4.5 * np.sqrt(p * (1 - p) / NUM_DRAWN), text
        if found.any():
            np.testing.assert_allclose(log_p[found], expected, atol=1e-5)


def test_a_temperature_sharpens_and_few_tokens_are_greedy(model):
    own = dict(ends=ENDS, source=SOURCE)
    greedy = generate_all(model, [BOS] * 3, max_new_tokens=6, eos_id=EOS, source=SOURCE)
    for changes in (dict(temperature=1e-4), dict(temperature=1.0, top_k=1)):
        decode = DecodeConfig(1, 0.0, 6, **changes)
        rows, _ = draw(model, [BOS] * 3, make_keys(3), decode=decode, **own)
        for row, text in zip(rows, greedy, strict=True):
            np.testing.assert_array_equal(row[: len(text)], text)
            assert (row[len(text) :] == PAD).all()


def test_a_row_is_the_same_alone_and_in_company(model):
    decode, keys = DecodeConfig(1, 0.0, 8, temperature=1.0), make_keys(3)
    own = dict(ends=ENDS, decode=decode)
    rows, log_p = draw(model, [BOS] * 3, keys, source=SOURCE, **own)
    for i in range(3):
        alone = {name: x[i : i + 1] for name, x in SOURCE.items()}
        row, one = draw(model, [BOS], keys[i : i + 1], source=alone, **own)
        np.testing.assert_array_equal(row[0], rows[i])
        assert one[0] == pytest.approx(log_p[i], abs=1e-5)


def test_the_randomness_is_that_of_the_seed_and_of_what_is_read(model):
    decode = DecodeConfig(1, 0.0, 12, temperature=2.0, seed=1)
    twice = {name: np.concatenate([x, x[::-1]]) for name, x in SOURCE.items()}
    padded = {name: np.pad(x, ((0, 0), (0, 3))) for name, x in SOURCE.items()}
    padded["source"][:, 4:] = 3  # Segments say that it is padding.
    rows = write_rows(model, SOURCE, SPECIAL, decode)["tokens"]
    assert len({row.tobytes() for row in rows}) > 1
    again = write_rows(model, twice, SPECIAL, decode)["tokens"]
    np.testing.assert_array_equal(again, np.concatenate([rows, rows[::-1]]))
    wide = write_rows(model, padded, SPECIAL, decode)["tokens"]
    np.testing.assert_array_equal(wide, rows)
    other = DecodeConfig(1, 0.0, 12, temperature=2.0, seed=2)
    assert (write_rows(model, SOURCE, SPECIAL, other)["tokens"] != rows).any()


def test_texts_go_on_from_prompts_of_any_length():
    config = decoder(7, 6, (LayerConfig(2, 1, 2, 5),), style=GPT2, num_positions=12)
    model = freeze_decoder(config, make_variables(config, seed=1)[0])
    prompts = [np.array([1, 5, 3], np.int32), np.array([1], np.int32)]
    decode = DecodeConfig(1, 0.0, 5, temperature=1.0, top_k=1)
    own = dict(ends=Ends(6, 0), decode=decode)
    rows, _ = draw(model, prompts, make_keys(2), **own)
    greedy = generate_all(model, prompts, max_new_tokens=5, eos_id=6)
    for row, text in zip(rows, greedy, strict=True):
        np.testing.assert_array_equal(row[: len(text)], text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(temperature=0.5), "beam_size=4 searches.*Set beam_size=1"),
        (dict(temperature=-1.0, beam_size=1), "0 .off. or more"),
        (dict(temperature=float("nan"), beam_size=1), "0 .off. or more"),
        (dict(temperature=1.0, beam_size=1, top_p=0.0), "top_p=0.0 must be above 0"),
        (dict(temperature=1.0, beam_size=1, top_k=-1), "top_k=-1 must be in"),
        (dict(top_k=3), "top_k=3 has no effect without config.decode.temperature"),
        (dict(seed=3), "seed=3 has no effect"),
    ],
)
def test_what_draws_nothing_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        DecodeConfig(**changes)
