"""Runs within a budget of latency: a table is an input like any other."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from stages import TABLE

from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import make_latency_fn
from slimjax.objective.latency_table import LatencyTable
from slimjax.run import loop, start
from slimjax.run.latency import find_latency, measure_latency
from slimjax.run.latency_clock import time_models
from slimjax.run.latency_models import ragged_model
from slimjax.run.progress import Display
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config


class Killed(BaseException):
    """Stands for the power cut."""


def seconds(model: ModelConfig, table: LatencyTable) -> float:
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 64}))
    return float(make_latency_fn(inventory, table)(inventory.open_gates()))


def make_config(text_folder, *changes):
    base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    base += [("model.num_layers", "1"), ("train.num_steps", "12")]
    base += [("resize.first_step", "6"), ("resize.max_seams", "1")]
    base += [("objective.size", "latency"), ("objective.strategy", "magnitude")]
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    return make_run_config(config)


def train(workdir, text_folder, *changes) -> dict:
    with Display(quiet=True) as display:
        return start.train(make_config(text_folder, *changes), workdir, display=display)


def test_a_run_reads_its_table_and_never_measures_again(
    tmp_path, text_folder, monkeypatch
):
    # Only channels may go, so that the width meets the budget.
    given, folder = tmp_path / "given.json", RunFolder(tmp_path / "run")
    given.write_text(json.dumps(TABLE.as_json()))
    asked = ("objective.latency_table", str(given)), ("resize.units", '["embed"]')

    def kill(name):
        if name == "seam-after":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(folder.root, text_folder, *asked)
    given.unlink()  # The run has its own by now.
    kept = folder.latency.read_text()
    other = dataclasses.replace(TABLE, base=(1e-3, 2e-3))
    folder.latency.write_text(json.dumps(other.as_json()))
    with pytest.raises(NotFeasibleError, match="not what it was"):
        train(folder.root, text_folder, *asked)
    folder.latency.write_text(kept)
    size = train(folder.root, text_folder, *asked)["size"]
    assert size["latency_s_start"] == pytest.approx(9e-3)
    assert size["measure"] == "latency"
    assert 0.55 * 9e-3 <= size["latency_s"] <= 0.6 * 9e-3
    (layer,) = json.loads(folder.architecture.read_text())
    assert layer["width"] < 32
    assert (layer["num_kv_heads"], layer["mlp_dim"]) == (2, 48)


def test_tables_and_budgets_that_do_not_fit_are_refused(tmp_path, text_folder):
    path = tmp_path / "given.json"
    asked = [("objective.latency_table", str(path))]
    narrow = ("resize.units", '["mlp", "embed"]')
    one_width = dataclasses.replace(
        TABLE,
        widths=(32,),
        base=(1e-3,),
        attention=TABLE.attention[1:],
        mlp=TABLE.mlp[1:],
    )
    refusals = [
        (dataclasses.replace(TABLE, widths=(8, 16)), asked[0], "is of another model"),
        (one_width, narrow, "is of one residual width"),
        (TABLE, ("objective.budget", "5e-4"), "what must stay: 0.001 seconds a token"),
        (TABLE, ("objective.budget", "0.1"), "the model has: 0.009 seconds a token"),
    ]
    for i, (table, change, reason) in enumerate(refusals):
        path.write_text(json.dumps(table.as_json()))
        with pytest.raises(ConfigError, match=reason):
            train(tmp_path / str(i), text_folder, *asked, change)


def test_a_budget_that_is_refused_leaves_the_folder_to_one_that_is_met(
    tmp_path, text_folder, monkeypatch
):
    given, folder = tmp_path / "given.json", RunFolder(tmp_path / "run")
    given.write_text(json.dumps(TABLE.as_json()))
    asked = ("objective.latency_table", str(given))

    def kill(_):
        raise Killed

    monkeypatch.setattr(loop, "fault_point", kill)
    with pytest.raises(ConfigError, match="what must stay"):
        train(folder.root, text_folder, asked, ("objective.budget", "5e-4"))
    with pytest.raises(Killed):
        train(folder.root, text_folder, asked)
    assert json.loads(folder.latency.read_text()) == json.loads(given.read_text())


def test_a_process_that_writes_no_file_has_the_table_of_its_beginning(
    tmp_path, text_folder, monkeypatch
):
    given, folder = tmp_path / "given.json", RunFolder(tmp_path / "run")
    given.write_text(json.dumps(TABLE.as_json()))
    run = make_config(text_folder, ("objective.latency_table", str(given)))
    layer = LayerConfig(4, 2, 8, 48)
    monkeypatch.setattr("slimjax.store.files.is_first", lambda: False)
    model = decoder(259, 32, (layer,))
    assert find_latency(run, folder, model, None) == TABLE


@pytest.mark.slow
@pytest.mark.parametrize("narrower", [False, True])
def test_the_table_tells_what_slim_models_gain(narrower):
    layer = LayerConfig(8, 4, 32, 1024)
    model = decoder(4096, 256, (layer,) * 6)
    table = measure_latency(model, narrower=narrower)
    slim = LayerConfig(4, 2, 32, 300), LayerConfig(6, 3, 32, 0, mlp=False)
    slim += LayerConfig(0, 0, 32, 700, attention=False), layer
    shapes = [model, model.with_main(layers=slim)]
    source = np.random.default_rng(5)
    for share in (0.3, 0.5, 0.8):
        shapes.append(ragged_model(model, share, source))
        if narrower:
            narrow = model.with_main(width=int(256 * share))
            shapes.append(ragged_model(narrow, share, source))
    told = np.array([seconds(shape, table) for shape in shapes])
    found = np.array(time_models(shapes, seconds=10.0))
    jax.clear_caches()
    # What is promised of predicted ratios; the clock of a shared machine has noise.
    np.testing.assert_allclose(told / told[0], found / found[0], rtol=0.15)
