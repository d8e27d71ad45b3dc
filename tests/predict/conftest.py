"""A tiny classifier in a run folder, trained for some steps."""

import functools

import pytest
from reviews import make_reviews, write_lines

from slimjax.predict import predictor
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train.config import make_run_config


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """Returns the folder of a finished run."""
    folder = tmp_path_factory.mktemp("classifier")
    source = write_lines(folder / "reviews.jsonl", make_reviews(200))
    config = dict(
        task="classification",
        data=dict(
            source=f"jsonl:{source}",
            fields=dict(text="review", label="stars"),
            tokenizer="bytes",
            seq_len=32,
            batch_size=16,
            valid_fraction=0.2,
            test_fraction=0.2,
        ),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=12),
        objective=dict(strategy="none"),
        optim=dict(learning_rate=1e-2, warmup_steps=5),
        train=dict(num_steps=60, eval_every_steps=60, save_every_steps=60),
        mesh=dict(data=1),
    )
    config["model"] |= dict(dtype="float32", pool="mean")
    with Display(quiet=True) as display:
        train(make_run_config(config), folder / "run", display=display)
    return folder / "run"


@pytest.fixture(scope="session")
def opened():
    """Returns a function that opens a predictor, each once: compiling takes long."""
    once = functools.lru_cache(predictor.open_predictor)
    return lambda *args, reading=(), **own: once(*args, reading=tuple(reading), **own)


@pytest.fixture(autouse=True)
def _open_once(opened, monkeypatch):
    """Has commands share the predictors of `opened`."""
    monkeypatch.setattr(predictor, "open_predictor", opened)
