"""Runs within a budget of latency: a table is an input like any other."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import LatencyTable
from slimjax.objective.size import make_size_fn
from slimjax.store.run_folder import RunFolder
from slimjax.train import loop
from slimjax.train.config import make_run_config
from slimjax.train.latency import measure_latency, time_models
from slimjax.train.progress import Display

TABLE = LatencyTable(
    width=32,
    vocab_size=259,
    base=1e-3,
    head_dim=8,
    kv_heads=(1, 2),
    group=(1, 2),
    attention=((1e-3, 2e-3), (2e-3, 3e-3)),
    units=(6, 24, 48),
    mlp=(1e-3, 2e-3, 5e-3),
)


class Killed(BaseException):
    """Stands for the power cut."""


def make_config(text_folder, *changes):
    base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    base += [("model.num_layers", "1"), ("train.num_steps", "12")]
    base += [("resize.first_step", "6"), ("resize.max_seams", "1")]
    base += [("objective.size", "latency"), ("objective.strategy", "magnitude")]
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    return make_run_config(config)


def train(workdir, text_folder, *changes) -> dict:
    with Display(quiet=True) as display:
        return loop.train(make_config(text_folder, *changes), workdir, display=display)


def test_a_run_reads_its_table_and_never_measures_again(
    tmp_path, text_folder, monkeypatch
):
    given, folder = tmp_path / "given.json", RunFolder(tmp_path / "run")
    given.write_text(json.dumps(TABLE.as_json()))
    asked = ("objective.latency_table", str(given))

    def kill(name):
        if name == "seam-after":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(folder.root, text_folder, asked)
    given.unlink()  # The run has its own by now.
    kept = folder.latency.read_text()
    other = dataclasses.replace(TABLE, base=2e-3)
    folder.latency.write_text(json.dumps(other.as_json()))
    with pytest.raises(NotFeasibleError, match="not what it was"):
        train(folder.root, text_folder, asked)
    folder.latency.write_text(kept)
    size = train(folder.root, text_folder, asked)["size"]
    assert size["latency_s_start"] == pytest.approx(9e-3)
    assert size["measure"] == "latency"
    assert 0.5 * 9e-3 <= size["latency_s"] <= 0.6 * 9e-3


def test_tables_and_budgets_that_do_not_fit_are_refused(tmp_path, text_folder):
    path = tmp_path / "given.json"
    asked = [("objective.latency_table", str(path))]
    for table, budget, reason in [
        (dataclasses.replace(TABLE, width=16), "60%", "is of another model"),
        (TABLE, "5e-4", "is less than what must stay: 0.001 seconds a token"),
        (TABLE, "0.1", "is more than the model has: 0.009 seconds a token"),
    ]:
        path.write_text(json.dumps(table.as_json()))
        changes = [*asked, ("objective.budget", budget)]
        with pytest.raises(ConfigError, match=reason):
            train(tmp_path / budget, text_folder, *changes)
    with pytest.raises(ConfigError, match="at one residual width"):
        make_config(text_folder, ("resize.units", '["mlp", "embed"]'))


@pytest.mark.slow
def test_the_table_tells_what_a_slim_model_gains():
    layer = LayerConfig(8, 4, 32, 1024)
    model = ModelConfig(4096, 256, (layer,) * 6)
    table = measure_latency(model)
    slim = (LayerConfig(4, 2, 32, 300), LayerConfig(6, 3, 32, 0, mlp=False))
    slim += (LayerConfig(0, 0, 32, 700, attention=False), layer)
    small = dataclasses.replace(model, layers=slim)
    sizes = []
    for shape in (small, model):
        inventory = take_inventory(abstract_variables(shape), 64)
        inventory = dataclasses.replace(inventory, latency=table)
        fn = make_size_fn("latency", inventory)
        sizes.append(float(fn(inventory.open_gates())))
    found = np.array(time_models([small, model], rounds=15))
    jax.clear_caches()
    # What is promised of predicted ratios; the clock of a shared machine has noise.
    assert sizes[0] / sizes[1] == pytest.approx(found[0] / found[1], rel=0.15)
