"""What a finished model writes for its report, and with which arrays."""

import jax
import numpy as np
import pytest
from run.test_processes import CHANGES
from stages import make_stage

from slimjax.config import override, read_config
from slimjax.generate.decode import generate_all
from slimjax.models.cached import freeze_decoder
from slimjax.run import finished, loop, start
from slimjax.run.finished import variables_to_write
from slimjax.run.progress import Display
from slimjax.store.packed import read_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.trees import flatten

LAYERS = ("model.num_layers", "2")
PROMPTS = [np.array([1, 70, 80], np.int32), np.array([1, 90], np.int32)]


def write(*changes):
    """Returns what a fresh model writes, and the names of its stage's variables."""
    stage = make_stage(LAYERS, *changes)
    params = stage.fresh().params
    variables = {kind: params[kind] for kind in ("params", "gates")}
    writer = freeze_decoder(stage.blueprint.model, variables_to_write(stage, variables))
    written = generate_all(writer, PROMPTS, max_new_tokens=9, eos_id=-1)
    return np.array(written), variables["params"].keys()


def test_a_model_whose_layers_are_stacked_writes_with_all_of_them():
    plain, names = write(("model.scan_layers", "false"))
    found, stacked = write(("model.scan_layers", "true"))
    assert "layer_0" in names
    assert "layer_0" not in stacked
    np.testing.assert_array_equal(found, plain)


@pytest.mark.slow
def test_the_report_gathers_no_more_than_one_matrix_at_a_time(
    tmp_path, text_folder, monkeypatch
):
    """As on devices that do not share one memory."""
    changes = CHANGES | {"data.source": f"text:{text_folder}/*.txt"}
    changes |= {"mesh.data": "2", "mesh.fsdp": "2", "mesh.model": "2"}
    changes |= {"resize.kv_heads_multiple": "2", "resize.multiple": "2"}
    config = override(read_config("configs/tiny_test.py"), [*changes.items()])
    gathered, device_get, make_report = [], jax.device_get, loop.make_report

    def get(tree):
        found = device_get(tree)
        gathered.append([np.shape(leaf) for leaf in jax.tree.leaves(found)])
        return found

    def report(*arguments, **options):
        monkeypatch.setattr(jax, "device_get", get)
        try:
            return make_report(*arguments, **options)
        finally:
            monkeypatch.setattr(jax, "device_get", device_get)

    monkeypatch.setattr(loop, "make_report", report)
    monkeypatch.setattr(finished, "_have_one_memory", lambda: False)
    run = make_run_config(config)
    found = start.train(run, tmp_path / "run", display=Display(quiet=True))
    assert len(found["samples"]) == 3
    weights = flatten(read_packed(RunFolder(tmp_path / "run").packed)).values()
    matrices = {weight.shape for weight in weights if weight.ndim > 1}
    counts = [sum(shape in matrices for shape in shapes) for shapes in gathered]
    assert counts.count(1) >= sum(weight.ndim > 1 for weight in weights)
    assert max(counts) == 1
