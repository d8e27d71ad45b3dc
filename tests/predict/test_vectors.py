"""Vectors of models that write: of one row, and of those that read a source."""

import json

import numpy as np
import pytest

import slimjax
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train.config import make_run_config

TEXT = "Ada saw x1"
LONG = "Ada saw x2 the old the old the old the old the old the old"
KINDS = {
    "one_row": ("seq2seq", dict(one_row=True, target_len=8), dict(kind="decoder")),
    "seq2seq": ("seq2seq", dict(target_len=8), dict(kind="encoder_decoder")),
    "denoise": ("denoise", {}, dict(kind="encoder_decoder", style="bert")),
}


def train_once(folder, kind):
    """Trains a model of a kind for one step; returns the folder of the run."""
    task, data, model = KINDS[kind]
    texts = [f"Ada saw x{i} " + "the old " * (i % 3) for i in range(40)]
    if task == "denoise":
        path = folder / "texts.txt"
        path.write_text("".join(f"{text}\n\n" for text in texts * 10))
        data |= dict(source=f"text:{path}")
    else:
        path, rows = folder / "pairs.jsonl", [dict(source=t, target="A") for t in texts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data |= dict(source=f"jsonl:{path}")
    data |= dict(tokenizer="bytes", seq_len=64, batch_size=4)
    sizes = dict(width=8, num_layers=1, num_heads=2, mlp_dim=12, encoder_layers=1)
    if model["kind"] == "encoder_decoder":
        sizes |= dict(encoder_width=12)
    else:
        sizes.pop("encoder_layers")
    config = dict(
        task=task,
        data=data | dict(valid_fraction=0.25, test_fraction=0.25),
        model=sizes | model,
        objective=dict(strategy="none"),
        train=dict(num_steps=1, eval_every_steps=0, save_every_steps=0),
        mesh=dict(data=1),
    )
    with Display(quiet=True) as display:
        train(make_run_config(config), folder / "run", display=display)
    return folder / "run"


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_does_not_depend_on_the_texts_beside_it(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    model = slimjax.load(train_once(tmp_path, kind))
    for pool in ("mean", "max"):
        alone = model.vectors([TEXT], pool=pool)
        both = model.vectors([TEXT, LONG], pool=pool)
        np.testing.assert_allclose(both[0], alone[0], atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
        assert np.abs(both[0] - both[1]).max() > 1e-3
    assert model.vectors([]).shape == (0, both.shape[1])
