"""A run with a second model that learns beside it: cut, killed, counted and dropped."""

import dataclasses
import json

import numpy as np
import pytest

from slimjax.run import loop
from slimjax.run.architectures import settle_architectures
from slimjax.run.dry_run import describe
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.store.packed import read_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import check_same_run, make_run_config

STEPS, ROWS = 8, 4


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path, draw = tmp_path_factory.mktemp("data") / "a.jsonl", np.random.default_rng(0)
    lines = [
        {"x": draw.standard_normal(3).tolist(), "label": "ab"[i % 2]} for i in range(60)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{path}", batch_size=ROWS),
        model=dict(kind="mlp", width=8, dtype="float32"),
        objective=dict(strategy="magnitude", size="params", budget="60%"),
        optim=dict(learning_rate=1e-2, warmup_steps=0),
        resize=dict(first_step=4, every_steps=50, max_seams=1),
        distill=dict(teacher="together", weight=0.5),
        train=dict(num_steps=STEPS, eval_every_steps=0, save_every_steps=2),
        mesh=dict(data=1),
    )
    config["distill"]["architecture"] = {"towers": {"": {"width": 6, "layers": []}}}
    config["data"] |= dict(fields=dict(features="x", label="label"))
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.0)
    return make_run_config(config)


def fit(run, folder):
    with Display(quiet=True) as display:
        return train(run, folder, display=display)


def test_a_file_of_an_architecture_may_be_gone_once_a_run_has_begun(run, tmp_path):
    path, entries = tmp_path / "other.json", run.distill.architecture
    path.write_text(json.dumps(entries))
    named = dataclasses.replace(
        run,
        distill=dataclasses.replace(run.distill, architecture=str(path)),
        model=dataclasses.replace(run.model, architecture=str(path)),
    )
    folder = RunFolder(tmp_path / "run")
    fit(named, folder.root)
    config = json.loads(folder.config.read_text())
    assert config["distill"]["architecture"] == entries
    assert config["model"]["architecture"] == entries
    for change in (lambda: path.write_text("[]"), path.unlink):
        change()
        settled = settle_architectures(named, folder)
        check_same_run(config, settled)
        assert settled.distill.architecture == entries


def test_the_second_model_is_never_cut_and_is_no_part_of_what_comes_out(
    run, tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr(Display, "step", lambda _, *args, **__: shown.append(args))
    report = fit(run, tmp_path / "whole")
    step, _, facts = next(a for a in reversed(shown) if isinstance(a[2], list))
    rows = report["data"]["examples_train"]
    assert facts[-1] == f"epoch {step * ROWS / rows:.1f}"
    assert report["error"]["test_accuracy"] is None  # There are no such rows.
    assert report["error"]["valid_accuracy"] > 0
    size = report["size"]
    assert size["params"] <= 0.6 * size["params_start"]
    other = 2 * (3 * 6 + 6 * 2)  # Forward FLOPs of 3-6-2.
    assert report["train"]["teacher_flops"] == STEPS * ROWS * 3 * other
    assert describe(run)["teacher_flops"] == STEPS * ROWS * 3 * other
    stages = [3 * s["flops_per_token"] * s["num_steps"] for s in report["stages"]]
    seams = RunFolder(tmp_path / "whole").seams.read()
    probes = sum(seam["flops_spent"] for seam in seams)
    total = ROWS * (sum(stages) + STEPS * 3 * other) + probes
    assert report["train"]["flops_total"] == pytest.approx(total)
    folder = RunFolder(tmp_path / "whole")
    assert read_packed(folder.packed)["features"]["kernel"].shape[1] < 6
    peers = [
        folder.checkpoints.restore_part(name, "params")["peer"]["features.kernel"]
        for name in folder.checkpoints.list()
    ]
    assert all(peer.shape == (3, 6) for peer in peers)
    assert not np.array_equal(peers[0], peers[-1])

    passed = iter(range(100))

    def kill(name):
        if name == "step" and next(passed) == 6:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            fit(run, tmp_path / "killed")
    resumed = fit(run, tmp_path / "killed")
    assert resumed["train"]["restarts"] == 1
    for key in ("state_hash", "config_hash"):
        assert resumed[key] == report[key]
    assert resumed["train"]["teacher_flops"] == report["train"]["teacher_flops"]
