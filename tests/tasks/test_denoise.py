"""Filling gaps by writing: what is left out of a source stands in its target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError
from slimjax.run.blueprints import expected_outline, make_blueprint
from slimjax.tasks import denoise
from slimjax.train.config import make_run_config

SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "unk": 3}
PAD, EOS, MARK = 0, 2, 3
LENGTH = 40


def draw_rows(num_rows=6, length=LENGTH):
    return np.random.default_rng(0).integers(4, 90, (num_rows, length), np.int32)


def put_together(source, target):
    """Returns the text that a source and its target were made of."""
    spans, text = [], []
    for token in target[: list(target).index(EOS)]:
        spans.append([]) if token == MARK else spans[-1].append(token)
    gaps = iter(spans)
    for token in source[source != PAD]:
        text += next(gaps) if token == MARK else [token]
    assert next(gaps, None) is None
    return text


@pytest.mark.parametrize("key", [None, 0])
def test_source_and_target_together_are_the_text(key):
    rows = draw_rows()
    rows[1, 25:] = PAD
    rows[2, 3:] = PAD
    key = key if key is None else jax.random.key(key)
    source, target = denoise.corrupt(jnp.asarray(rows), key, SPECIAL)
    sizes = denoise.sizes_of(LENGTH)
    assert source.shape[1], target.shape[1] == sizes[2:]
    for row, own, other in zip(rows, *map(np.asarray, (source, target)), strict=True):
        assert put_together(own, other) == list(row[row != PAD])
    full = np.asarray(target)[0]
    assert (full == MARK).sum() - sizes.spans in (0, 1)
    assert sizes.target - (full != PAD).sum() in (0, 1)


def test_spans_change_with_the_key_and_are_the_same_without():
    rows = jnp.asarray(draw_rows())
    corrupt = lambda key: np.asarray(denoise.corrupt(rows, key, SPECIAL)[1])
    np.testing.assert_array_equal(corrupt(None), corrupt(None))
    assert (corrupt(jax.random.key(0)) != corrupt(jax.random.key(1))).any()
    # Padding to the right of other rows changes nothing of a row's own draws.
    alone = np.asarray(denoise.corrupt(rows[2:3], None, SPECIAL)[1])
    np.testing.assert_array_equal(alone[0], corrupt(None)[2])


def test_every_token_is_drawn_as_often_as_any_other():
    key = jax.random.key(3)
    numbers = jax.random.uniform(key, (4000, 3, LENGTH))
    is_drawn = denoise.draw_spans(numbers, denoise.sizes_of(LENGTH))
    counts = np.asarray(is_drawn).mean(0)
    assert np.asarray(is_drawn).sum(1).tolist() == [6] * 4000
    assert abs(counts.mean() - 0.15) < 1e-6
    assert abs(counts - 0.15).max() < 4 * (0.15 * 0.85 / 4000) ** 0.5


def test_the_recipe_is_an_encoder_decoder_and_no_decoder():
    plain = read_config("configs/denoise.py")
    run = make_run_config(plain)
    outline = expected_outline(run)
    assert outline.lengths == {"": 27, "source": 116}
    assert make_blueprint(run, outline).model.main.memory == "encoder"
    run = make_run_config(override(plain, [("model.kind", '"decoder"')]))
    with pytest.raises(ConfigError, match="encoder_decoder"):
        make_blueprint(run, outline)


def test_a_row_too_short_to_have_gaps_is_refused():
    with pytest.raises(ConfigError, match="seq_len=3"):
        denoise.expected_outline(DataConfig(seq_len=3))
