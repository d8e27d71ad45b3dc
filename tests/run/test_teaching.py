"""A run with a teacher: still a function of its config, and honest about its cost."""

import json

import jax
import numpy as np
import pytest
from stages import stage_of
from taught import DENSE, Killed, make_train

from slimjax.config import override
from slimjax.data.batches import make_batch
from slimjax.distill.teacher import Teacher
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.generate.model import load
from slimjax.run import loop
from slimjax.run.dry_run import describe
from slimjax.store.packed import read_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.train.state import init_params
from slimjax.trees import axis_names, count_elements, named_leaves


@pytest.fixture(scope="module")
def train(text_folder):
    return make_train(text_folder, num_steps=15)


@pytest.fixture(scope="module")
def dense(train, tmp_path_factory):
    """Returns a finished run that was never cut, and its report."""
    workdir = tmp_path_factory.mktemp("runs") / "dense"
    return workdir, train(workdir, *DENSE)


def test_the_start_teaches_from_the_first_cut_and_survives_a_kill(
    train, tmp_path, monkeypatch
):
    expected = train(tmp_path / "whole", teacher="start", hidden_weight=0.1)
    maps = 3 * 2 * 32 * 32  # One layer, forward and backward.
    step_flops = (expected["stages"][0]["flops_per_token"] + maps) * 8 * 32
    plain = sum(3 * s["flops_per_token"] * s["num_steps"] for s in expected["stages"])
    seams = (tmp_path / "whole" / "seams.jsonl").read_text().splitlines()
    spent = plain * 8 * 32 + sum(json.loads(seam)["flops_spent"] for seam in seams)
    assert expected["train"]["flops_total"] == spent + 5 * step_flops
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    told = describe(make_run_config(config))
    assert told["teacher_flops"] == 5 * step_flops
    uncut = 3 * told["flops_per_token"] * told["tokens"]
    assert told["flops_total_without_seams"] == uncut + 5 * step_flops

    passages = iter(range(100))

    def kill_at_step_13(name):
        if name == "step" and next(passages) == 13:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill_at_step_13)
        with pytest.raises(Killed):
            train(tmp_path / "killed", teacher="start", hidden_weight=0.1)
    assert set(load(tmp_path / "killed").params) == {"params", "gates"}
    actual = train(tmp_path / "killed", teacher="start", hidden_weight=0.1)
    assert actual["train"]["restarts"] == 1
    assert actual["state_hash"] == expected["state_hash"]
    assert actual["train"]["flops_total"] == expected["train"]["flops_total"]


def test_a_run_teaches_from_the_step_that_is_asked_for(train, tmp_path, dense):
    folder, report = dense
    taught = train(tmp_path / "taught", *DENSE, teacher=folder, first_step=9)
    flops = report["train"]["flops_total"]
    assert taught["train"]["flops_total"] == pytest.approx(flops * (1 + 6 / 15 / 3))
    assert taught["state_hash"] != report["state_hash"]


def test_hidden_states_of_another_width_and_depth_leave_no_trace(
    train, tmp_path, dense
):
    shape = [("model.width", "16"), ("model.num_layers", "2")]
    shape += [("train.num_steps", "3"), *DENSE]
    report = train(tmp_path / "taught", *shape, teacher=dense[0], hidden_weight=0.5)
    model = load(tmp_path / "taught")
    assert count_elements(model.params["params"]) == report["size"]["params"]
    own = set(named_leaves(model.config.abstract_variables()["params"]))
    packed = read_packed(RunFolder(tmp_path / "taught").packed)
    assert set(named_leaves(packed)) == {name.removesuffix(".value") for name in own}
    maps = RunFolder(tmp_path / "taught").checkpoints
    maps = maps.restore_part(maps.list()[-1], "params")["align"]
    assert [m["map"].shape for m in maps.values()] == [(16, 32)] * 2
    assert all(np.any(m["map"]) for m in maps.values())


def test_a_teacher_without_weight_changes_no_bit(train, tmp_path, dense):
    folder, report = dense
    silent = train(tmp_path / "silent", *DENSE, teacher=folder, weight=0.0)
    assert silent["state_hash"] == report["state_hash"]
    assert silent["train"]["flops_total"] == report["train"]["flops_total"]


def test_a_teacher_must_be_a_finished_run_with_the_same_tokens(train, tmp_path, dense):
    other = [("data.tokenizer", "sentencepiece"), ("data.vocab_size", "300")]
    with pytest.raises(ConfigError, match=r"has another tokenizer .*259") as caught:
        train(tmp_path / "other", *DENSE, *other, teacher=dense[0])
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no finished run"):
        train(tmp_path / "nobody", *DENSE, teacher=tmp_path / "nowhere")


def test_a_teacher_must_know_all_positions_of_a_row(train, tmp_path):
    short = [("model.style", "gpt2"), ("data.seq_len", "16"), ("train.num_steps", "2")]
    train(tmp_path / "short", *DENSE, *short)
    told = r"config.data.seq_len.* 32 positions.* 16 .*short'"
    with pytest.raises(ConfigError, match=told) as caught:
        train(tmp_path / "taught", *DENSE, teacher=tmp_path / "short")
    assert "\n" not in str(caught.value)
    same = [("data.seq_len", "16"), ("train.num_steps", "2")]
    taught = train(tmp_path / "same", *DENSE, *same, teacher=tmp_path / "short")
    assert taught["train"]["finished"]


def test_another_teacher_than_before_is_refused(train, tmp_path, dense, monkeypatch):
    def kill(name):
        if name == "step" and (tmp_path / "run" / "checkpoints").exists():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(tmp_path / "run", *DENSE, teacher=dense[0])
    packed = RunFolder(dense[0]).packed
    kept = packed.read_bytes()
    names = axis_names(load(dense[0]).config.abstract_variables())["params"]
    write_packed(packed, jax.tree.map(np.negative, read_packed(packed)), names)
    with pytest.raises(NotFeasibleError, match="is not what it was"):
        train(tmp_path / "run", *DENSE, teacher=dense[0])
    packed.write_bytes(kept)
    assert train(tmp_path / "run", *DENSE, teacher=dense[0])["train"]["finished"]


def test_eight_devices_hear_what_one_does(dense):
    config = json.loads((dense[0] / "config.json").read_text())
    rows = np.random.default_rng(0).integers(3, 259, (16, 32))
    losses = {}
    for num_devices in (1, 8):
        changes = [("mesh.data", str(num_devices)), ("distill.teacher", str(dense[0]))]
        run = make_run_config(override(config, changes))
        stage = stage_of(run)
        weights = init_params(stage.blueprint.model, seed=1)
        teacher = Teacher.of(stage.blueprint.model, jax.device_get(weights))
        stage = stage.taught_by(teacher)
        state = stage.start(init_params(stage.blueprint.model, seed=0))
        for step in range(3):
            batch = stage.put(make_batch(rows, step, 8, seed=0))
            state, metrics = stage.step_at(step)(state, batch)
            losses.setdefault(num_devices, []).append(float(metrics["nats_sum"]))
    np.testing.assert_allclose(losses[8], losses[1], rtol=1e-5)


@pytest.mark.slow
def test_hidden_states_are_compared_in_looped_layers_too(train, tmp_path, monkeypatch):
    layers = ("model.num_layers", "3"), ("train.num_steps", "13")
    taught = dict(teacher="start", hidden_weight=0.1)
    loop_over = ("model.scan_layers", "true")
    whole = train(tmp_path / "whole", *layers, loop_over, **taught)
    passages = iter(range(100))

    def kill_at_step_11(name):  # One after the cut.
        if name == "step" and next(passages) == 11:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill_at_step_11)
        with pytest.raises(Killed):
            train(tmp_path / "killed", *layers, loop_over, **taught)
    again = train(tmp_path / "killed", *layers, loop_over, **taught)
    assert len(again["stages"]) == 2
    assert again["train"]["restarts"] == 1
    assert again["state_hash"] == whole["state_hash"]
    apart = train(tmp_path / "apart", *layers, **taught)
    errors = [r["error"]["valid_nats_per_token"] for r in (whole, apart)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    for name in ("whole", "apart"):
        checkpoints = RunFolder(tmp_path / name).checkpoints
        maps = checkpoints.restore_part(checkpoints.list()[-1], "params")["align"]
        assert set(maps) == {"map_0", "map_1", "map_2"}
        assert not any(np.array_equal(m["map"], np.eye(32)) for m in maps.values())
