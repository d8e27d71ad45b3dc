"""What several cuts on the way to a budget promise, and the report of them."""

import itertools

import pytest
from compress.test_pipeline import SMALL, ask
from compress.tiny import draw_rows, make_decoder
from run.folders import make_folder

from slimjax.compress import seams
from slimjax.compress.describe import table
from slimjax.compress.errors import measure
from slimjax.compress.healed import count_step_flops
from slimjax.compress.healing import TOKENS
from slimjax.compress.pipeline import compress
from slimjax.compress.slimming import make_material
from slimjax.generate.model import load
from slimjax.trees import count_elements


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    layer = dict(num_heads=4, num_kv_heads=2, head_dim=4, mlp_dim=24)
    layers = [{"width": 12, **layer, "attention": True, "mlp": True}] * 2
    return make_folder(tmp_path_factory.mktemp("model") / "run", layers=layers)


def total(report, name):
    return sum(seam[name] for seam in report["compress"]["seams"])


def test_two_seams_meet_the_budget_and_say_what_each_cost(
    source, text_folder, tmp_path
):
    request = ask(source, text_folder, tmp_path / "slim", ("80%",), num_seams=2)
    (report,) = compress(request)
    start, found = report["size"]["params_start"], report["compress"]
    size = count_elements(load(tmp_path / "slim").params["params"])
    first, last = found["seams"]
    assert size == report["size"]["params"] == last["params"]
    assert 0.75 * start < size <= 0.8 * start
    assert 0.85 * start < first["params"] <= 0.8**0.5 * start
    assert min(first["predicted_loss_change"], last["predicted_loss_change"]) > 0
    predicted = total(report, "predicted_loss_change")
    assert found["predicted_loss_change"] == pytest.approx(predicted)
    assert found["predicted_loss_change_of_cut"] == pytest.approx(predicted)
    true = total(report, "true_loss_change")
    assert found["true_loss_change"] == pytest.approx(true, abs=1e-6)
    lines = [line for line in table([report]) if line.startswith("  seam ")]
    assert [line.split(":")[0] for line in lines] == ["  seam 1", "  seam 2"]
    assert f"{last['params']:,.0f} parameters" in lines[1]


def test_the_level_of_a_seam_corrects_the_next_one(
    source, text_folder, tmp_path, monkeypatch
):
    """Nobody trained the model, so that cuts may improve it: here each one costs."""
    calls = itertools.count(1)

    def measure_worse(*given):
        found = measure(*given)
        return found._replace(nats=found.nats + found.num_targets * next(calls))

    monkeypatch.setattr(seams, "measure", measure_worse)
    request = ask(source, text_folder, tmp_path / "slim", ("80%",), num_seams=2)
    (report,) = compress(request)
    first, last = report["compress"]["seams"]
    for seam in (first, last):
        level = seam["true_loss_change"] / seam["predicted_loss_change"]
        assert seam["level"] == pytest.approx(level, abs=1e-4)
    assert "corrected_loss_change" not in first
    corrected = first["level"] * last["predicted_loss_change"]
    assert last["corrected_loss_change"] == pytest.approx(corrected)


def test_one_seam_has_no_lines_of_its_own(source, text_folder, tmp_path):
    (report,) = compress(ask(source, text_folder, tmp_path / "slim", ("85%",)))
    assert len(report["compress"]["seams"]) == 1
    assert not any("seam 1" in line for line in table([report]))
    assert report["compress"]["healing"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("heal_steps", [0, 3])
def test_seams_with_bits_meet_the_budget(source, text_folder, tmp_path, heal_steps):
    overrides = (*SMALL, ("quantize.group_size", "16"))
    options = dict(size="bytes", num_seams=2, heal_steps=heal_steps)
    options |= dict(overrides=overrides)
    (report,) = compress(
        ask(source, text_folder, tmp_path / "slim", ("35%",), **options)
    )
    budget = 0.35 * report["size"]["bytes_start"]
    assert 0.9 * budget < report["size"]["packed_file_bytes"] <= budget
    first, last = report["compress"]["seams"]
    assert first["params"] >= last["params"] == report["size"]["params"]
    assert first["bytes"] > last["bytes"]
    assert last["bytes"] == pytest.approx(report["size"]["bytes"], rel=1e-3)
    found = report["compress"]
    assert found["predicted_loss_change_of_cut"] < found["predicted_loss_change"]
    assert any("seam 2" in line for line in table([report]))
    healing = found["healing"]
    assert healing.get("steps", 0) == heal_steps
    assert any("healing" in line for line in table([report])) == bool(heal_steps)


@pytest.mark.slow
def test_several_budgets_have_seams_of_their_own(source, text_folder, tmp_path):
    options = dict(num_seams=3)
    reports = compress(
        ask(source, text_folder, tmp_path / "slim", ("90%", "75%"), **options)
    )
    for part, report in zip((0.9, 0.75), reports, strict=True):
        start, seams = report["size"]["params_start"], report["compress"]["seams"]
        for number, seam in enumerate(seams):
            assert seam["params"] <= part ** ((number + 1) / 3) * start
        assert seams[-1]["params"] == report["size"]["params"]


def test_a_step_of_healing_costs_one_pass_of_the_original_and_three_of_the_rest():
    model, variables, _ = make_decoder()
    rows = draw_rows(4, length=9)
    of_other_rows = make_material(model, variables, {"": 5})
    of_these_rows = make_material(model, variables, {"": 9})
    each = of_these_rows.sizes()["flops"] * 9
    found = count_step_flops(of_other_rows, of_other_rows, rows)
    assert found == pytest.approx(4 * each * (TOKENS // 9))
