"""Early stopping: when a run ends, what it packs, and that a kill changes nothing."""

import json

import numpy as np
import pytest

from slimjax.errors import ConfigError, NoMemoryError, UnreadableError
from slimjax.report import read_run
from slimjax.report.table import explain_table
from slimjax.run import loop, patience
from slimjax.run.evaluate import Evaluation
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.store.packed import read_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import check_same_run, make_run_config
from slimjax.train.history import History
from slimjax.trees import flatten

ACCURACY = {2: 0.9, 4: 0.5, 6: 0.7, 8: 0.7, 10: 0.6, 12: 0.8, 14: 0.9}
"""By step; a seam stands before step 3, and nothing before it counts."""

BEST, LAST = 6, 10


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    path, draw = tmp_path_factory.mktemp("data") / "a.jsonl", np.random.default_rng(0)
    lines = [
        {"x": draw.standard_normal(3).tolist(), "label": "ab"[i % 2]} for i in range(60)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_run(points, **changes):
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{points}", batch_size=4),
        model=dict(kind="mlp", width=8, dtype="float32"),
        objective=dict(strategy="magnitude", size="params", budget="60%"),
        optim=dict(learning_rate=1e-2, warmup_steps=0, decay="constant"),
        resize=dict(first_step=3, every_steps=50, max_seams=1),
        train=dict(num_steps=16, eval_every_steps=2, patience=2, save_every_steps=50),
        mesh=dict(data=1),
    )
    config["data"] |= dict(fields=dict(features="x", label="label"))
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.2)
    for name, block in changes.items():
        config[name] = config.get(name, {}) | block
    return make_run_config(config)


def fit(run, folder, stop_at=None):
    """Trains with the accuracies above, and maybe dies before a step."""

    def evaluate(stage, variables, data, split, rows):
        del stage, variables, split, rows, data
        return Evaluation(1.0, {"accuracy": ACCURACY[step[0]]}, 1)

    step = [0]

    def count(name):
        if name == "step":
            step[0] += 1
            if step[0] == stop_at:
                raise Killed

    with pytest.MonkeyPatch.context() as patch, Display(quiet=True) as display:
        patch.setattr(loop, "fault_point", count)
        patch.setattr(loop, "evaluate", evaluate)
        checkpoints = RunFolder(folder).checkpoints.list()
        step[0] = max((int(name[:8]) for name in checkpoints), default=0)
        return train(run, folder, display=display)


@pytest.fixture(scope="module")
def whole(points, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, fit(make_run(points), workdir)


def test_a_run_ends_when_its_patience_does_and_packs_its_best_since_the_seam(whole):
    workdir, report = whole
    assert report["train"]["steps"] == LAST
    assert report["train"]["best_step"] == BEST
    assert report["train"]["stopped_early"]
    (note,) = [n for n in explain_table(read_run(workdir)) if "packed" in n]
    assert note.startswith(
        "Stopped early after 10 steps; packed is the state of step 6"
    )
    size = report["size"]
    assert size["params"] <= 0.6 * size["params_start"]
    folder = RunFolder(workdir)
    packed = flatten(read_packed(folder.packed))
    params = folder.checkpoints.restore_part(f"{BEST:08d}.01", "params")
    later = folder.checkpoints.restore_part(f"{LAST:08d}.01", "params")
    close = lambda tree: all(  # The packed file has the numbers in bfloat16.
        np.allclose(packed[path], leaf, rtol=1e-2)
        for path, leaf in flatten(tree["params"]).items()
    )
    assert close(params)
    assert not close(later)


@pytest.mark.parametrize("stop_at", [BEST + 1, LAST])
def test_a_run_that_was_killed_ends_the_same(points, whole, tmp_path, stop_at):
    run = make_run(points)
    with pytest.raises(Killed):
        fit(run, tmp_path / "run", stop_at=stop_at)
    report = fit(run, tmp_path / "run")
    assert report["train"]["restarts"] == 1
    for key in ("steps", "best_step", "stopped_early"):
        assert report["train"][key] == whole[1]["train"][key]
    assert report["state_hash"] == whole[1]["state_hash"]


def test_a_best_checkpoint_that_cannot_be_read_now_is_packed_later(
    points, whole, tmp_path, monkeypatch
):
    def refuse(*_):
        raise UnreadableError("a cannot be read: Input/output error.")

    run = make_run(points)
    with monkeypatch.context() as patch:
        patch.setattr(patience, "restore_state", refuse)
        with pytest.raises(UnreadableError, match="Input/output error"):
            fit(run, tmp_path / "run")
    report = fit(run, tmp_path / "run")
    assert report["state_hash"] == whole[1]["state_hash"]


def test_without_memory_for_the_best_state_the_last_one_is_packed(
    points, whole, tmp_path, monkeypatch
):
    def refuse(*_):
        raise NoMemoryError("a cannot be read: out of memory.")

    monkeypatch.setattr(patience, "restore_state", refuse)
    report = fit(make_run(points), tmp_path / "run")
    assert report["train"]["steps"] == LAST
    assert report["state_hash"] != whole[1]["state_hash"]


def test_what_counts():
    run = make_run("a.jsonl")
    cut = History(num_seams=1)
    assert patience.counts(run, cut, 4)
    assert not patience.counts(run, History(), 4)
    assert not patience.counts(make_run("a.jsonl", train=dict(patience=0)), cut, 4)
    late = make_run("a.jsonl", quantize=dict(bits=[4], first_step=8))
    assert not patience.counts(late, cut, 8)
    assert patience.counts(late, cut, 10)
    for rank in (float("nan"), 0.5, float("inf")):
        patience.note(cut, 1, rank)
    assert (cut.best, cut.num_not_better) == (0.5, 1)
    assert not patience.is_over(run, cut)
    patience.note(cut, 2, 0.5)
    assert patience.is_over(run, cut)


def test_patience_without_evaluations_is_refused(points, tmp_path):
    with pytest.raises(ConfigError, match="patience=2 counts evaluations"):
        make_run(points, train=dict(eval_every_steps=0))
    with pytest.raises(ConfigError, match="patience=2 needs a validation split"):
        fit(make_run(points, data=dict(valid_fraction=0.0)), tmp_path / "run")


def test_evaluations_may_change_on_the_way_only_without_patience(points):
    other = dict(eval_rows=7)
    before, after = make_run(points), make_run(points, train=other)
    with pytest.raises(ConfigError, match="eval_rows"):
        check_same_run(before.as_dict(), after)
    plain = make_run(points, train=dict(patience=0))
    check_same_run(plain.as_dict(), make_run(points, train=other | dict(patience=0)))
