"""What a plan promises: its sizes are ours, its advice is tried, its verdict kept."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import jax
import pytest
from stages import stage_of

from slimjax.cli.main import main
from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.plan import plan as planning
from slimjax.plan.advice import suggest_changes
from slimjax.plan.chips import CHIPS
from slimjax.plan.measure import describe_shape
from slimjax.plan.memory import GIB, count_saving, count_state, read_shortage
from slimjax.plan.plan import parse_mesh
from slimjax.plan.roofline import flops_utilization, make_roofline
from slimjax.plan.slimmed import parse_part, slim_uniformly
from slimjax.plan.table import list_rows
from slimjax.train.config import make_run_config
from slimjax.train.stage import Stage

UNIFORM = [("resize.uniform", "true"), ("resize.multiple", "4"), ("mesh.data", "1")]


def make_stage(*changes: tuple[str, str]) -> Stage:
    config = override(read_config("configs/tiny_test.py"), [*UNIFORM, *changes])
    run = make_run_config(config)
    return stage_of(run)


@pytest.fixture(scope="module")
def stage():
    return make_stage()


def test_a_slimmed_shape_has_the_sizes_that_the_walk_over_the_whole_one_tells(stage):
    whole = stage.blueprint
    model, predicted = slim_uniformly(whole, 0.6)
    small = dataclasses.replace(whole, model=model, given_start_sizes=whole.start_sizes)
    assert len(set(model.layers)) == 1
    assert model.layers[0].mlp_dim % 4 == 0
    assert 0.4 < small.sizes["params"] / whole.sizes["params"] <= 0.6
    assert predicted == pytest.approx(small.sizes, rel=1e-12)


def test_a_shape_smaller_than_any_is_not_to_be_had(stage):
    with pytest.raises(NotFeasibleError, match="no uniform shape has so little params"):
        slim_uniformly(stage.blueprint, 0.01)


def small_stage(task: str, **changes) -> Stage:
    """Returns the stage of a small model of a task."""
    data = dict(source="text:x", tokenizer="bytes", seq_len=64, batch_size=4)
    model = dict(width=32, num_heads=4, mlp_dim=48, num_layers=2, dtype="float32")
    config = dict(task=task, data=data | changes.pop("data", {}), mesh=dict(data=1))
    return stage_of(make_run_config(config | dict(model=model | changes)))


@pytest.mark.parametrize(
    ("task", "changes", "targets"),
    [
        ("lm", {}, 4 * 64),
        ("denoise", dict(kind="encoder_decoder"), 60),
        ("seq2seq", dict(kind="encoder_decoder", data=dict(target_len=16)), 4 * 16),
    ],
)
def test_flops_of_a_step_are_those_of_its_targets(task, changes, targets):
    stage = small_stage(task, **changes)
    shape = describe_shape(stage)
    assert stage.blueprint.targets_per_step == targets
    assert shape["tokens"] == stage.blueprint.positions_per_step  # As runs report.
    assert shape["flops"] == 3 * stage.blueprint.sizes["flops"] * targets


def layer_of(heads: int, mlp_dim: int) -> dict:
    shape = dict(width=32, num_heads=heads, num_kv_heads=heads, head_dim=8)
    return shape | dict(mlp_dim=mlp_dim, attention=heads > 0, mlp=mlp_dim > 0)


CUT = {
    "decoder": ("lm", {}),
    "two towers": ("denoise", dict(kind="encoder_decoder")),
    "layers that differ": ("lm", dict(architecture=[layer_of(4, 48), layer_of(2, 16)])),
    "no heads at first": ("lm", dict(architecture=[layer_of(0, 48), layer_of(4, 16)])),
    "no MLP": ("lm", dict(architecture=[layer_of(4, 0), layer_of(4, 0)])),
}


@pytest.mark.parametrize("name", CUT)
def test_any_model_that_is_slimmed_has_the_sizes_that_were_predicted(name):
    task, changes = CUT[name]
    whole = small_stage(task, **changes).blueprint
    model, predicted = slim_uniformly(whole, 0.8)
    small = dataclasses.replace(whole, model=model, given_start_sizes=whole.start_sizes)
    assert predicted == pytest.approx(small.sizes, rel=1e-12)
    assert 0.4 < small.sizes["params"] / whole.sizes["params"] <= 0.8


@pytest.mark.parametrize("text", ["50", "0%", "100%", "-3%", "half"])
def test_a_part_is_a_percentage(text):
    with pytest.raises(ConfigError, match="--after="):
        parse_part(text)


def test_the_state_is_counted_by_kind_in_all_and_on_a_device():
    cut = make_stage(("mesh.fsdp", "4"))
    counts, weights = count_state(cut), 4 * int(cut.blueprint.sizes["params"])
    assert counts["weights"]["total"] == weights
    assert counts["moments"]["total"] > 2 * weights
    assert weights / 4 <= counts["weights"]["device"] < weights / 3.9
    state = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cut.abstract_state)
    )
    assert sum(count["total"] for count in counts.values()) == state


def test_a_mesh_is_told_axis_by_axis():
    assert parse_mesh("fsdp:-1, model:2")["fsdp"] == -1
    with pytest.raises(ConfigError, match="no axis 'modle'"):
        parse_mesh("modle:2")
    with pytest.raises(ConfigError, match="model wants a size"):
        parse_mesh("model:two")


def test_the_slowest_resource_is_the_least_time():
    chip = CHIPS["v4"]
    line = make_roofline(chip, flops=550e12, hbm_bytes=2400e9, ici_bytes=1200e9)
    assert (line.compute_s, line.hbm_s, line.ici_s) == pytest.approx((2, 2, 4))
    assert (line.seconds, line.bound) == (line.ici_s, "ici")
    used = flops_utilization(chip, model_flops=275e12, num_devices=2, seconds=4.0)
    assert used == pytest.approx(0.125)


def test_what_a_compiler_refuses_for_its_memory_is_told_in_bytes():
    told = "RESOURCE_EXHAUSTED: Ran out of memory on HBM. Used 20.50G of 15.75G hbm."
    assert read_shortage(told) == 20.5 * GIB
    assert read_shortage("RESOURCE_EXHAUSTED: something") == float("inf")
    assert read_shortage("INVALID_ARGUMENT: (2.00G)") is None


def plan_of(hbm: dict, remat: str) -> dict:
    return {"hbm": {"capacity": 16.0} | hbm, "remat": remat}


def test_advice_tries_the_policies_that_keep_less_and_stops_at_the_first_that_fits():
    tried = []
    plan = plan_of({"arguments": 4.0, "total": 20.0}, "none")
    advice = suggest_changes(
        plan, {"fsdp": 4}, 8, lambda p: tried.append(p) or p == "full"
    )
    assert tried == ["dots", "full"]
    assert advice == ["set config.model.remat=full, with which it fits"]


def test_advice_for_a_state_too_large_is_to_cut_it_over_more_devices():
    plan = plan_of({"arguments": 12.0, "total": 20.0}, "full")
    advice = suggest_changes(plan, {"data": 4, "fsdp": 2}, 8, lambda _: False)
    assert advice[0] == "set config.mesh.fsdp=8 and config.mesh.data=1"
    plan = plan_of({"arguments": 4.0, "total": 20.0}, "full")
    assert "set config.data.batch_size=8" in suggest_changes(
        plan, {"fsdp": 8}, 16, lambda _: False
    )


def test_stacked_layers_lie_twice_on_several_devices_while_they_are_saved():
    loop, two = ("model.scan_layers", "true"), ("mesh.fsdp", "2")
    states = [count_state(make_stage(two, *change)) for change in ([], [loop])]
    own, stacked = (sum(n["device"] for n in kinds.values()) for kinds in states)
    assert own == stacked  # Between two steps.
    assert count_saving(make_stage(two)) == own
    assert count_saving(make_stage(two, loop)) == 2 * own
    whole = sum(n["device"] for n in count_state(make_stage(loop)).values())
    assert count_saving(make_stage(loop)) == whole
    hbm = dict(total=GIB, capacity=2 * GIB)
    step = dict(layer=dict(width=32, num_heads=4, num_kv_heads=2, mlp_dim=48))
    step |= dict(num_layers=2, params=9, flops=1.0, state_bytes={}, hbm=hbm, fits=True)
    rows = list_rows(step | {"saving_bytes": 3 * GIB})
    assert rows["HBM: while saving"] == "3.00 GiB of 2.00 GiB, does NOT fit"
    assert "HBM: while saving" not in list_rows(step)


def test_a_step_that_does_not_fit_is_exit_code_3_with_the_reason(monkeypatch, capsys):
    """With the devices of this machine in place of a slice's, and a fake measure."""
    hbm = dict(arguments=2 * GIB, temporaries=4 * GIB, total=6 * GIB, capacity=5 * GIB)

    def measure(stage, _):
        layer = {"width": 32, "num_heads": 4, "num_kv_heads": 2, "mlp_dim": 48}
        shape = dict(layer=layer, num_layers=2, params=9, flops=1.0, state_bytes={})
        return shape | {"remat": stage.blueprint.model.remat, "hbm": hbm, "fits": False}

    monkeypatch.setattr(planning, "describe_devices", lambda _: jax.devices()[:4])
    monkeypatch.setattr(planning, "measure_step", measure)
    monkeypatch.setattr("slimjax.plan.topology.prepare_libtpu", lambda **_: None)
    flags = ["--config=configs/tiny_test.py", "--topology=v5e:2x2", "--json"]
    assert main(["plan", *flags, "--config.model.remat=full"]) == 3
    out, err = capsys.readouterr()
    assert not json.loads(out.splitlines()[-1])["start"]["fits"]
    told = err.strip().splitlines()[-1]
    assert "needs 6.0 GiB of the 5.0 GiB of a device of v5e:2x2" in told
    assert "config.data.batch_size=4" in told


def test_rows_that_do_not_fit_are_exit_code_3_too(monkeypatch, capsys):
    hbm = dict(arguments=4 * GIB, temporaries=2 * GIB, total=6 * GIB, capacity=5 * GIB)
    layer = {"width": 32, "num_heads": 4, "num_kv_heads": 2, "mlp_dim": 48}
    step = dict(layer=layer, num_layers=2, params=9, flops=1.0, tokens=64, hbm=hbm)
    step["state_bytes"] = {"weights": dict(total=GIB, device=GIB)}
    train = step | {"state_bytes": {}, "fits": True}
    monkeypatch.setattr(planning, "describe_devices", lambda _: jax.devices()[:4])
    monkeypatch.setattr(planning, "measure_step", lambda *_: train)
    monkeypatch.setattr(planning, "measure_decode", lambda *_: step | {"fits": False})
    monkeypatch.setattr("slimjax.plan.topology.prepare_libtpu", lambda **_: None)
    flags = ["--config=configs/tiny_test.py", "--topology=v5e:2x2", "--decode=64"]
    assert main(["plan", *flags]) == 3
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the step of decoding needs 6.0 GiB of the 5.0 GiB" in told
    assert "set --decode=32" in told


def test_mistakes_of_a_plan_are_exit_code_2(capsys):
    assert main(["plan", "--config=configs/tiny_test.py", "--topology=v9:2x2"]) == 2
    assert "v9" in capsys.readouterr().err


def test_a_tiny_model_is_planned_for_four_tpus():
    """In a process of its own, since libtpu wants to be told early of no TPU."""
    if not importlib.util.find_spec("libtpu") and "TPU_LIBRARY_PATH" not in os.environ:
        pytest.skip("libtpu is not installed: pip install 'slimjax[tpu]'")
    command = [sys.executable, "-m", "slimjax", "plan", "--topology=v5e:2x2"]
    command += ["--config=configs/tiny_test.py", "--mesh=fsdp:2,model:2", "--json"]
    command += ["--quick", "--config.data.seq_len=128", "--config.model.dtype=bfloat16"]
    command += ["--config.resize.multiple=2", "--config.resize.kv_heads_multiple=2"]
    command += ["--decode=8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    plan = json.loads(done.stdout.splitlines()[-1])
    step, decode = plan["start"], plan["decode"]
    assert step["params"] == step["params_counted"] == 23_808
    assert step["fits"]
    assert step["work"]["num_kernels"] == 3 * 2  # Splash: forward, dq, dkv; 2 layers.
    assert step["collectives"]["all-reduce"]["count"] > 0
    # All products of the formula, nothing twice; attention without remat.
    assert 0.95 < step["flops_executed"] / step["flops"] < 1.6
    assert decode["fits"]
    assert decode["tokens"] == 8
    # Two halves of the rows; 2 layers, 1 of 2 KV heads and 128 positions, in 2 bytes.
    cache = 2 * 2 * 128 * decode["layer"]["head_dim"] * 2
    assert decode["state_bytes"]["cache"]["device"] == 4 * cache
    assert decode["collectives"]["all-reduce"]["count"] >= 2 * 2  # Writers' sums.
