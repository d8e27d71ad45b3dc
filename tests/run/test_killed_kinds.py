"""Law 7 for other models: killed in an epoch, a run ends with the same bits."""

import json
from random import Random

import pytest

from slimjax import tasks
from slimjax.run import loop
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.store.manifest import list_names, name_of
from slimjax.train.config import make_run_config

BATCH, SAVED, KILLED = 8, 12, 14
"""Rows of a step, the step of the newest checkpoint, and the step of the kill."""

CASES = {
    "seq2seq": ("seq2seq", dict(kind="encoder_decoder")),
    "gru": ("classification", dict(cell="gru", positions="none")),
    "lstm": ("classification", dict(cell="lstm", positions="none")),
    "characters": ("classification", dict(stem="characters", byte_dim=4)),
}


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Returns a file of 120 examples, for both tasks."""
    draw, path = Random(0), tmp_path_factory.mktemp("data") / "a.jsonl"
    lines = []
    for i in range(120):
        words = [*draw.choices(["ab", "ba", "c"], k=draw.randint(1, 4)), str(i)]
        text = " ".join(words)
        own = dict(text=text, label=words[0], source=text, target=words[0])
        lines.append(own)
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def make_run(path, task, model):
    config = dict(
        task=task,
        data=dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=24),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=64),
        optim=dict(learning_rate=1e-2, warmup_steps=2),
        resize=dict(first_step=9, every_steps=8, max_seams=1),
        objective=dict(strategy="exchange", size="params", budget="90%"),
        train=dict(num_steps=18, eval_every_steps=0, save_every_steps=4),
        decode=dict(beam_size=1, max_new_tokens=3),
        mesh=dict(data=1),
    )
    config["data"] |= dict(batch_size=BATCH, valid_fraction=0.2, test_fraction=0.2)
    config["model"] |= dict(dtype="float32", dropout=0.1) | model
    return make_run_config(config)


def fit(run, folder):
    with Display(quiet=True) as display:
        return train(run, folder, display=display)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_in_an_epoch_ends_with_the_same_bits(
    name, examples, tmp_path, monkeypatch
):
    run = make_run(examples, *CASES[name])
    rows = tasks.get(run.task).load(run.data).num_rows("train")
    assert rows < SAVED * BATCH < KILLED * BATCH
    assert SAVED * BATCH % rows != 0
    expected = fit(run, tmp_path / "whole")
    steps = iter(range(100))

    def kill(place):
        if place == "step" and next(steps) == KILLED:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            fit(run, tmp_path / "run")
    kept = list_names(tmp_path / "run" / "checkpoints")
    assert kept[-1] == name_of(SAVED, 1)
    again = fit(run, tmp_path / "run")
    assert len(expected["stages"]) == 2
    assert again["state_hash"] == expected["state_hash"]
