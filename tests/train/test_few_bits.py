"""Runs whose weights have few bits: whole in every promise that other runs keep."""

import json

import numpy as np
import pytest
from stages import make_stage, take_steps

from slimjax.config import override, read_config
from slimjax.data.batches import make_batch
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.nn.axes import to_host
from slimjax.resize.plan import make_plan
from slimjax.run import loop, start
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.progress import Display
from slimjax.store.packed import read_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.train.cutting import cut_state
from slimjax.train.precision import keep_fits
from slimjax.train.probe import Probe
from slimjax.train.rounding import round_state
from slimjax.trees import flatten

CHOICE = [("quantize.bits", "[16, 8, 4, 2]"), ("objective.size", "bytes")]
CHOICE += [("objective.budget", "20%")]
LEARNED = [*CHOICE, ("objective.strategy", "learned_bits")]
LEARNED += [("objective.gate_learning_rate", "0.1")]
BOTH = [*CHOICE, ("resize.units", '["mlp", "embed"]'), ("resize.width_multiple", "4")]
BOTH += [("resize.min_mlp_dim", "24"), ("objective.budget", "6%")]
FOUR = [("quantize.bits", "4"), ("quantize.first_step", "6")]
FOUR += [("objective.strategy", "none"), ("objective.budget", "")]


class Killed(BaseException):
    """Stands for the power cut."""


def make_config(text_folder, *changes):
    base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    base += [("model.num_layers", "1"), ("train.num_steps", "18")]
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    return make_run_config(config)


def train(workdir, text_folder, *changes) -> dict:
    with Display(quiet=True) as display:
        return start.train(make_config(text_folder, *changes), workdir, display=display)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, text_folder):
    workdir = tmp_path_factory.mktemp("precision") / "chosen"
    return workdir, train(workdir, text_folder, *CHOICE)


def test_seams_choose_bits_within_a_budget_of_bytes(chosen):
    workdir, report = chosen
    size = report["size"]
    assert size["packed_file_bytes"] <= 0.2 * size["bytes_start"]
    assert size["packed_file_bytes"] == RunFolder(workdir).packed.stat().st_size
    assert size["bytes"] == size["packed_file_bytes"]
    logged = RunFolder(workdir).metrics.read()[-1]["bytes"]
    assert size["bytes"] == pytest.approx(logged, rel=0.01)
    architecture = json.loads((workdir / "architecture.json").read_text())
    assert {b for layer in architecture for own in layer["bits"].values() for b in own}
    seams = [json.loads(s) for s in (workdir / "seams.jsonl").read_text().splitlines()]
    assert len(seams[-1]["bits"]) > 1
    assert sum(seams[-1]["bits"].values()) > 259  # Each row of the table has its own.


def test_the_file_is_the_model_that_was_evaluated(chosen):
    workdir, report = chosen
    found = evaluate_folder(workdir, source=None, split="test")
    assert found["nats_per_token"] == report["error"]["test_nats_per_token"]
    weights = flatten(read_packed(RunFolder(workdir).packed))
    for path, weight in flatten(load(workdir).params["params"]).items():
        np.testing.assert_array_equal(weights[path], weight)


@pytest.fixture(scope="module")
def both(tmp_path_factory, text_folder):
    workdir = tmp_path_factory.mktemp("precision") / "both"
    return workdir, train(workdir, text_folder, *BOTH)


def test_seams_choose_the_width_and_bits_together(both):
    workdir, report = both
    size = report["size"]
    assert size["bytes"] == RunFolder(workdir).packed.stat().st_size
    logged = RunFolder(workdir).metrics.read()[-1]["bytes"]
    assert size["bytes"] <= logged <= 0.06 * size["bytes_start"]
    # What is reckoned for lengths of three digits, and here have one, is all it misses.
    assert size["bytes"] == pytest.approx(logged, abs=100)
    assert logged >= 0.99 * 0.06 * size["bytes_start"]
    seams = RunFolder(workdir).seams.read()
    assert sum(seam["closed"]["embed"] for seam in seams) in range(4, 32, 4)
    assert len(seams[-1]["bits"]) > 1
    found = evaluate_folder(workdir, source=None, split="test")
    assert found["nats_per_token"] == report["error"]["test_nats_per_token"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory, text_folder):
    workdir = tmp_path_factory.mktemp("precision") / "learned"
    return workdir, train(workdir, text_folder, *LEARNED)


def test_learned_bits_are_settled_within_the_budget(learned):
    workdir, report = learned
    size = report["size"]
    assert 0.19 * size["bytes_start"] <= size["bytes"] <= 0.2 * size["bytes_start"]
    assert size["packed_file_bytes"] == pytest.approx(size["bytes"], rel=0.01)
    seams = RunFolder(workdir).seams.read()
    assert [seam["taken"] for seam in seams] == [True, True]
    assert len(seams[-1]["bits"]) > 1
    assert seams[-1]["alpha"] > 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("chosen", CHOICE, marks=pytest.mark.slow),
        ("both", BOTH),
        pytest.param("learned", LEARNED, marks=pytest.mark.slow),
    ],
)
def test_a_kill_after_a_seam_changes_nothing(
    name, changes, request, tmp_path, text_folder, monkeypatch
):
    whole, steps = request.getfixturevalue(name), []

    def kill(name):
        steps.append(name)
        if name == "seam-after" and steps.count("seam-after") == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(tmp_path / "run", text_folder, *changes)
    again = train(tmp_path / "run", text_folder, *changes)
    assert again["state_hash"] == whole[1]["state_hash"]


def test_weights_of_four_bits_from_a_step_on(tmp_path, text_folder):
    report = train(tmp_path / "run", text_folder, *FOUR)
    assert report["size"]["packed_file_bytes"] < 0.35 * 2 * report["size"]["params"]
    rows = read_packed(RunFolder(tmp_path / "run").packed)["tokens"]["embedding"]
    assert max(len(np.unique(row)) for row in rows) <= 16


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([("quantize.bits", "5")], "must be one or several of"),
        ([("quantize.bits", "[4, 4]")], "each once"),
        ([("quantize.bits", "[4, 8]")], "does not count bits"),
        ([*LEARNED, ("quantize.bits", "8")], "needs bits to choose from"),
        ([*LEARNED, ("resize.units", '["mlp", "embed"]')], "leaves their channels"),
        ([*FOUR, ("quantize.bits", "[4, 8]")], "is for one number"),
        (
            [*FOUR, ("quantize.bits", "[4, 8]"), ("quantize.first_step", "0")],
            "does not make",
        ),
        ([*FOUR, ("quantize.first_step", "18")], "must come before"),
    ],
)
def test_bits_that_cannot_be_meant_are_refused(text_folder, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        make_config(text_folder, *changes)


def test_units_keep_their_fit_while_their_bits_stay():
    names = {"mlp": {"up": ("embed", "mlp")}}
    before = {
        "bits": {"mlp": {"mlp": np.array([2, 4])}},
        "fit": {"mlp": {"up": np.array([1, 2])}},
    }
    fresh = {
        "bits": {"mlp": {"mlp": np.array([2, 2])}},
        "fit": {"mlp": {"up": np.array([5, 6])}},
    }
    assert keep_fits(before, fresh, names)["fit"]["mlp"]["up"].tolist() == [1, 6]


def test_weights_of_few_bits_keep_their_levels_when_channels_go():
    stage = make_stage(("quantize.bits", "3"))
    state, _ = take_steps(stage, 3)
    state = round_state(stage, state)
    closed = stage.blueprint.inventory.open_gates()
    closed["embed",][::3] = 0.0
    closed["layer_0", "mlp", "mlp"][:7] = 0.0
    small, cut = cut_state(stage, state, closed, make_plan(closed))
    rows = np.random.default_rng(1).integers(3, 259, (40, 9))
    batch = stage.put(make_batch(rows, 0, 8, seed=0))
    masked = Probe(stage, state.variables, batch)(closed)
    bits = flatten(to_host(cut.precision)["bits"])
    assert {int(own.min()) for own in bits.values()} == {3, 8}  # Norms have 8.
    assert Probe(small, cut.variables, batch)({}) == pytest.approx(masked, abs=1e-5)
