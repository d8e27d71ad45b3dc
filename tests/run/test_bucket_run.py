"""A run with buckets: its steps resume across lengths, and cost what they read."""

import json
from random import Random

import pytest

from slimjax.run import loop
from slimjax.run.blueprints import make_blueprint
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import classification
from slimjax.train.config import make_run_config
from slimjax.train.programs import Programs


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Returns a file of 120 texts, most of them short."""
    draw, path = Random(0), tmp_path_factory.mktemp("data") / "a.jsonl"
    lines = []
    for i in range(120):
        word = draw.choice("ab")
        size = draw.choice([1, 2, 4, 12])
        lines.append({"text": f"{' '.join(word * size)} {i}", "label": word})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def make_run(texts, **data):
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{texts}", tokenizer="bytes", seq_len=32, batch_size=8),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=8),
        optim=dict(learning_rate=1e-2, warmup_steps=2),
        resize=dict(first_step=9, every_steps=8, max_seams=1),
        objective=dict(strategy="exchange", size="params", budget="90%"),
        train=dict(num_steps=12, eval_every_steps=0, save_every_steps=3),
        mesh=dict(data=1),
    )
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.2) | data
    config["model"] |= dict(dtype="float32", dropout=0.1)
    return make_run_config(config)


def fit(run, folder):
    with Display(quiet=True) as display:
        return train(run, folder, display=display)


@pytest.fixture(scope="module")
def finished(texts, tmp_path_factory):
    """Returns a finished run, and how many programs each of its stages compiled."""
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        compile_step = Programs._compile_step

        def count(self, step, fields, *constants):
            compiled.append((id(self), fields["tokens"].shape))
            return compile_step(self, step, fields, *constants)

        patch.setattr(Programs, "_compile_step", count)
        report = fit(make_run(texts, buckets=[12]), tmp_path_factory.mktemp("run"))
    return report, compiled


def test_each_bucket_is_compiled_once_per_stage(finished):
    _, compiled = finished
    assert len(compiled) == len(set(compiled))
    assert {shape for _, shape in compiled} == {(12,), (32,)}


def test_flops_are_those_of_the_mean_training_batch(texts, finished):
    outlines = [
        classification.load(make_run(texts, buckets=buckets).data).outline
        for buckets in ([], [12])
    ]
    whole, part = (make_blueprint(make_run(texts), outline) for outline in outlines)
    mean = outlines[1].priced_lengths[""]
    assert mean < 20
    assert part.positions_per_step == 8 * mean
    assert whole.positions_per_step == 8 * 32
    assert part.sizes["flops"] < 0.8 * whole.sizes["flops"]
    steps = finished[0]["train"]["steps"]
    assert finished[0]["train"]["tokens"] == steps * part.positions_per_step


@pytest.mark.slow
def test_a_killed_run_goes_on_across_buckets(texts, finished, tmp_path, monkeypatch):
    steps = iter(range(100))

    def kill(place):
        if place == "step" and next(steps) == 5:
            raise Killed

    run = make_run(texts, buckets=[12])
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            fit(run, tmp_path / "run")
    again = fit(run, tmp_path / "run")
    assert again["state_hash"] == finished[0]["state_hash"]
