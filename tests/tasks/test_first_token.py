"""Rows of pretrained models that begin with no token of their own."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("tokenizers")

from slimjax.data.config import DataConfig
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.tasks import lm

SPECIAL = {"pad": 2, "bos": 0, "eos": 1}
TOKENS = np.array([[5, 6, 7, 2], [8, 9, 5, 6]])


def test_the_first_token_is_read_and_not_scored():
    task = lm.make_task(SPECIAL | {"adds_bos": 0})
    batch = {"tokens": jnp.array(TOKENS)}
    np.testing.assert_array_equal(task.inputs(batch, None)["tokens"], TOKENS)
    targets = task.targets(batch, None)["tokens"]
    np.testing.assert_array_equal(targets.values[:, :3], TOKENS[:, 1:])
    np.testing.assert_array_equal(targets.weight, [[1, 1, 0, 0], [1, 1, 1, 0]])
    usual = lm.make_task(SPECIAL)
    read = usual.inputs(batch, None)["tokens"]
    np.testing.assert_array_equal(read, [[0, 5, 6, 7], [0, 8, 9, 5]])


def make_tokenizer(**special):
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        special_tokens=["<start>", "<end>", "<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([], trainer)
    size = made.get_vocab_size()
    content = json.loads(made.to_str())
    return JsonTokenizer(content, SPECIAL | special, vocab_size=size)


def test_bytes_and_targets_of_rows_are_those_that_are_scored(tmp_path):
    """With one token for each byte, a row of 8 has 7 targets, and as many bytes."""
    (tmp_path / "a.txt").write_text("x" * 31)
    config = DataConfig(source=f"text:{tmp_path}/*.txt", seq_len=8)
    counts = {}
    for name, special in (("usual", {}), ("first", {"adds_bos": 0})):
        codecs = {"tokens": make_tokenizer(**special)}
        data = lm.load(config, codecs=codecs, all_valid=True)
        rows = data.row_counts["valid"]
        counts[name] = rows["bytes"].tolist(), rows["targets"].tolist()
    assert counts["usual"] == ([8, 8, 8, 7], [8, 8, 8, 8])  # The last one is eos.
    assert counts["first"] == ([7, 7, 7, 6], [7, 7, 7, 7])
