"""Losses of documents: they add up to what the whole split says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slimjax
from slimjax.config import override, read_config
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.losses import losses_of_documents, read_losses, write_losses


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(2, 7),
    st.booleans(),
)
def test_each_loss_is_counted_for_the_document_it_is_of(lengths, seq_len, reads_first):
    owners = np.repeat(np.arange(len(lengths)), lengths)
    losses = np.arange(1.0, len(owners) + 1)
    num_rows = -(-len(owners) // seq_len)
    rows = np.zeros(num_rows * seq_len)
    rows[: len(losses)] = losses
    rows = rows.reshape(num_rows, seq_len)
    is_target = np.ones(len(owners), bool)
    if reads_first:  # The target of a position is the next token of its row.
        is_target[::seq_len] = False
        rows = np.pad(rows[:, 1:], ((0, 0), (0, 1)))
    sizes = np.stack([lengths, lengths], axis=1)
    found = losses_of_documents(rows, sizes, reads_first)
    for document in range(len(lengths)):
        own = (owners == document) & is_target
        assert found["nats"][document] == losses[own].sum()
        assert found["targets"][document] == own.sum()


def test_what_is_written_is_read(tmp_path):
    losses = {"nats": np.array([0.1, 2.5]), "targets": np.array([3, 4])}
    write_losses(tmp_path / "losses.jsonl", losses)
    found = read_losses(tmp_path / "losses.jsonl")
    for name, column in losses.items():
        np.testing.assert_array_equal(found[name], column)
    (tmp_path / "losses.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(ValueError, match="something else"):
        read_losses(tmp_path / "losses.jsonl")


def test_a_run_leaves_the_losses_of_its_documents(tmp_path, text_folder):
    changes = [("train.num_steps", "2"), ("objective.strategy", "none")]
    changes += [("objective.budget", ""), ("model.num_layers", "1")]
    changes += [("data.source", f"text:{text_folder}/part1*.txt")]
    config = override(read_config("configs/tiny_test.py"), changes)
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    for split in ("valid", "test"):
        found = read_losses(tmp_path / "run" / f"losses-{split}.jsonl")
        assert len(found["nats"]) == report["data"][f"documents_{split}"] > 1
        assert found["targets"].sum() == report["data"][f"tokens_{split}"]
        assert found["bytes"].sum() == report["data"][f"bytes_{split}"]
        mean = found["nats"].sum() / found["targets"].sum()
        assert mean == pytest.approx(report["error"][f"{split}_nats_per_target"])
    before = (tmp_path / "run" / "losses-valid.jsonl").read_bytes()
    evaluate_folder(tmp_path / "run", source=None, split="valid")
    again = (tmp_path / "run" / "losses-valid.jsonl").read_bytes()
    first, other = (
        [json.loads(line)["nats"] for line in text.splitlines()]
        for text in (before, again)
    )
    np.testing.assert_allclose(first, other, rtol=1e-5)
