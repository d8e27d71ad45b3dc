"""Losses of documents: they add up to what the whole split says."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slimjax
from slimjax.config import override, read_config
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.losses import losses_of_documents, read_losses, write_losses
from slimjax.tasks.base import Targets
from slimjax.tasks.error import NO_TARGET, _by_token


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(2, 7),
    st.booleans(),
)
def test_each_loss_is_counted_for_the_document_it_is_of(lengths, seq_len, reads_first):
    owners = np.repeat(np.arange(len(lengths)), lengths)
    losses = np.arange(1.0, len(owners) + 1)
    num_rows = -(-len(owners) // seq_len)
    rows = np.full(num_rows * seq_len, NO_TARGET)
    rows[: len(losses)] = losses
    is_target = np.ones(len(owners), bool)
    if reads_first:
        is_target[::seq_len], rows[::seq_len] = False, NO_TARGET
    sizes = np.stack([lengths, lengths], axis=1)
    found = losses_of_documents(rows.reshape(num_rows, seq_len), sizes)
    for document in range(len(lengths)):
        own = (owners == document) & is_target
        assert found["nats"][document] == losses[own].sum()
        assert found["targets"][document] == own.sum()


@pytest.mark.parametrize("target_at", [0, -1])
def test_a_loss_stands_at_its_own_token(target_at):
    rng = np.random.default_rng(0)
    nats, weight = rng.uniform(1, 2, (2, 5)), rng.integers(0, 2, (2, 5))
    targets = Targets(jnp.zeros((2, 5), int), jnp.asarray(weight, jnp.float32))
    found = np.asarray(_by_token(jnp.asarray(nats), targets, target_at))
    for row in range(2):
        for token in range(5):
            place = token + target_at
            is_target = place >= 0 and weight[row, place]
            wanted = nats[row, place] if is_target else NO_TARGET
            assert found[row, token] == pytest.approx(wanted)


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


def test_losses_of_hidden_tokens_are_those_of_their_documents(tmp_path, text_folder):
    changes = [("task", "mlm"), ("model.kind", "encoder"), ("train.num_steps", "2")]
    changes += [("objective.strategy", "none"), ("objective.budget", "")]
    changes += [("data.source", f"text:{text_folder}/part1*.txt")]
    changes += [("model.num_layers", "1"), ("model.num_kv_heads", "4")]
    config = override(read_config("configs/tiny_test.py"), changes)
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    found = read_losses(tmp_path / "run" / "losses-valid.jsonl")
    assert len(found["nats"]) == report["data"]["documents_valid"] > 1
    hidden = found["targets"].sum() / report["data"]["tokens_valid"]
    assert 0.1 < hidden < 0.2  # 15 % of the tokens, but for ends and chance.
    mean = found["nats"].sum() / found["targets"].sum()
    assert mean == pytest.approx(report["error"]["valid_nats_per_target"])
