"""Masked language modelling: what is hidden, how often, and from what it is drawn."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.config import DataConfig
from slimjax.data.words import JOINED, JoinedRows, find_word_parts
from slimjax.errors import ConfigError
from slimjax.run.blueprints import expected_blueprint
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import mlm
from slimjax.train.config import make_run_config

SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "mask": 3}
SOURCE = np.random.default_rng(0)
B, T = 40, 64


@pytest.fixture(scope="module")
def batch():
    tokens = SOURCE.integers(4, 50, (B, T)).astype(np.int32)
    tokens[:, 20], tokens[5, 30:] = SPECIAL["eos"], SPECIAL["pad"]
    return {"tokens": jnp.asarray(tokens)}


def hidden(batch, seed=None, special=SPECIAL):
    key = None if seed is None else jax.random.key(seed)
    return tuple(np.asarray(part) for part in mlm.hide(batch, key, special))


def test_some_tokens_are_targets_and_most_of_them_are_masked(batch):
    parts = [hidden(batch, seed) for seed in range(8)]
    tokens, read, is_target = (np.concatenate(p) for p in zip(*parts, strict=True))
    is_text = tokens > SPECIAL["mask"]
    assert not is_target[~is_text].any()
    np.testing.assert_array_equal(read[~is_target], tokens[~is_target])
    count = is_text.sum()  # Some 20,000: tolerances are four deviations.
    near = lambda part, of: 4 * (part * (1 - part) / of) ** 0.5
    assert abs(is_target.mean(where=is_text) - 0.15) < near(0.15, count)
    masked = (read == SPECIAL["mask"])[is_target].mean()
    assert abs(masked - 0.8) < near(0.8, is_target.sum())
    kept = (read == tokens)[is_target].mean()
    by_chance = 0.1 / T  # Another token may be the same one: at most a few in hundred.
    assert 0.1 - near(0.1, is_target.sum()) < kept
    assert kept < 0.1 + 6 * by_chance + near(0.1, is_target.sum())


def test_every_row_begins_with_the_beginning_of_text(batch):
    tokens, read, _ = hidden(batch, 0)
    assert (read[:, 0] == SPECIAL["bos"]).all()
    np.testing.assert_array_equal(tokens[:, 1:], batch["tokens"][:, 1:])


def test_training_hides_others_in_each_step_and_inputs_fit_targets(batch):
    task = mlm.make_task(SPECIAL)
    for seed in (0, 1):
        key = jax.random.key(seed)
        read = task.inputs(batch, key)["tokens"]
        target = task.targets(batch, key)["tokens"]
        changed = np.asarray(read != target.values)
        assert changed.any()
        assert not changed[np.asarray(target.weight) == 0].any()
    assert (hidden(batch, 0)[2] != hidden(batch, 1)[2]).any()


def test_evaluation_hides_the_same_of_a_row_wherever_it_stands(batch):
    whole = hidden(batch)
    alone = hidden({"tokens": batch["tokens"][7:8]})
    for one, other in zip(alone, whole, strict=True):
        np.testing.assert_array_equal(one[0], other[7])
    assert (whole[2][0] != whole[2][1]).any()


def test_padding_stands_for_a_mask_that_a_vocabulary_lacks(batch):
    special = {name: i for name, i in SPECIAL.items() if name != "mask"}
    _, read, is_target = hidden(batch, 0, special)
    assert 0.7 < (read == special["pad"])[is_target].mean() < 0.9
    inputs = mlm.make_task(special).inputs(batch, jax.random.key(0))
    expected = np.asarray(batch["tokens"]) != special["pad"]
    np.testing.assert_array_equal(inputs["tokens_segments"], expected)


def test_a_word_is_hidden_as_a_whole():
    tokenizer = BytesTokenizer()
    text = "fine words, plain ones; 漂亮 and été2 done."
    rows = tokenizer.encode(text)[None]
    joined = JoinedRows(rows, *find_word_parts(tokenizer))[np.array([0])]
    words = np.cumsum(~joined[0]) - 1
    spelled = [tokenizer.decode(rows[0][words == i]) for i in range(words.max() + 1)]
    assert [word for word in spelled if word.strip(" ,;.")] == [
        *("fine", "words", "plain", "ones", "漂", "亮", "and", "été2", "done")
    ]
    many = {"tokens": jnp.tile(rows, (30, 1)), JOINED: jnp.tile(joined, (30, 1)) * 1}
    _, _, is_target = hidden(many, 0, tokenizer.special)
    for i in set(words[1:]):
        own = is_target[:, (words == i) & (np.arange(len(words)) > 0)]
        assert (own.all(1) == own.any(1)).all()
    assert 0.05 < is_target.mean() < 0.3


def make_run(folder, **blocks):
    config = dict(
        task="mlm",
        data=dict(source=f"text:{folder}/part0.txt", tokenizer="bytes", seq_len=24),
        model=dict(kind="encoder", width=16, num_layers=1, num_heads=2, mlp_dim=16),
        objective=dict(strategy="none"),
        optim=dict(learning_rate=1e-2, warmup_steps=2),
        train=dict(num_steps=6, eval_every_steps=6),
        mesh=dict(data=1),
    )
    config["model"]["dtype"] = "float32"
    config["data"]["whole_words"] = True
    for name, block in blocks.items():
        config[name] = config[name] | block if name in config else block
    return make_run_config(config)


def test_an_encoder_learns_to_fill_gaps(text_folder, tmp_path):
    with Display(quiet=True) as display:
        report = train(make_run(text_folder), tmp_path / "run", display=display)
    headline = report["metrics"][0]
    assert headline["key"] == "nats_per_token"
    assert report["error"]["test_nats_per_token"] < np.log(259) - 0.5
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "valid_perplexity" in json.loads(lines[-1])


def test_a_model_that_does_not_see_what_follows_is_refused(text_folder):
    with pytest.raises(ConfigError, match="fills gaps"):
        expected_blueprint(make_run(text_folder, model=dict(kind="decoder")))
    run = make_run(text_folder, distill=dict(teacher="runs/none", top_k=2))
    with pytest.raises(ConfigError, match=r"distill\.top_k=2"):
        expected_blueprint(run)


def test_rows_of_one_token_are_refused():
    config = DataConfig(seq_len=1)
    with pytest.raises(ConfigError, match="leaves nothing to hide"):
        mlm.expected_outline(dataclasses.replace(config, tokenizer="bytes"))
