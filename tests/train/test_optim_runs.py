"""Runs with each optimizer: they slim, and go on to the same bits after a kill."""

import itertools

import numpy as np
import pytest
from stages import make_stage, take_steps

from slimjax.config import override, read_config
from slimjax.resize.plan import make_plan
from slimjax.run import loop, start
from slimjax.run.progress import Display
from slimjax.strategies.base import weight_curvature
from slimjax.train.config import make_run_config
from slimjax.train.cutting import cut_state
from slimjax.train.optim_config import OPTIMIZERS
from slimjax.trees import flatten, named_leaves

RATES = dict(sgd="0.1", momentum="0.03", adafactor="0.03", lion="3e-4", adam="3e-3")
BITS = [("quantize.bits", "[16, 8, 4]"), ("objective.size", "bytes")]
BITS += [("objective.budget", "25%")]


class Killed(BaseException):
    """Stands for the power cut."""


def optim(name: str) -> list[tuple[str, str]]:
    return [("optim.name", name), ("optim.learning_rate", RATES.get(name, "3e-3"))]


def train(workdir, text_folder, *changes) -> dict:
    base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    base += [("model.num_layers", "1"), ("train.num_steps", "18")]
    base += [("model.width", "128"), ("model.mlp_dim", "136")]  # Factored, then not.
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    with Display(quiet=True) as display:
        return start.train(make_run_config(config), workdir, display=display)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adafactor", "momentum", "lion"])
def test_a_kill_after_a_seam_changes_nothing(name, tmp_path, text_folder, monkeypatch):
    changes, seams = [*optim(name), *BITS], itertools.count()
    whole = train(tmp_path / "whole", text_folder, *changes)
    assert whole["size"]["packed_file_bytes"] <= 0.25 * whole["size"]["bytes_start"]

    def kill(point):
        if point == "seam-after" and next(seams) == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(tmp_path / "run", text_folder, *changes)
    again = train(tmp_path / "run", text_folder, *changes)
    assert again["state_hash"] == whole["state_hash"]


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "adamw"])
def test_a_stage_learns_and_its_state_fits_the_stage_after_a_cut(name):
    stage = make_stage(*optim(name), ("quantize.bits", "8"))
    state, losses = take_steps(stage, 8)
    assert losses[-1] < losses[0]
    curvature = flatten(weight_curvature(state.opt_state))
    assert curvature.keys() == flatten(state.params["params"]).keys()
    assert all(np.asarray(own).max() > 0 for own in curvature.values())
    closed = stage.blueprint.inventory.open_gates()
    closed["layer_0", "mlp", "mlp"][:5] = 0.0
    closed["layer_0", "attention", "kv_heads"][0] = 0.0
    small, small_state = cut_state(stage, state, closed, make_plan(closed))
    shapes = lambda tree: {k: v.shape for k, v in named_leaves(tree).items()}
    assert shapes(small_state) == shapes(small.abstract_state)
    after = flatten(weight_curvature(small_state.opt_state))
    path = ("layer_0", "mlp", "down")
    np.testing.assert_array_equal(after[path], np.asarray(curvature[path])[5:])
    _, more = take_steps(small, 2, small_state)
    assert np.isfinite(more).all()


@pytest.mark.slow
def test_adafactor_on_eight_devices_is_adafactor_on_one():
    changes = [*optim("adafactor"), ("model.width", "128"), ("model.mlp_dim", "136")]
    changes += [("resize.multiple", "2"), ("resize.kv_heads_multiple", "2")]
    mesh = [("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.model", "2")]
    losses = []
    for more in ([], mesh):
        stage = make_stage(*changes, *more)
        state, before = take_steps(stage, 3)
        closed = stage.blueprint.inventory.open_gates()
        closed["layer_0", "mlp", "mlp"][:4] = 0.0
        small, small_state = cut_state(stage, state, closed, make_plan(closed))
        losses.append(before + take_steps(small, 2, small_state)[1])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
