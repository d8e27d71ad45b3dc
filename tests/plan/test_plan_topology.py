"""Slices by name, and what is refused."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from slimjax.config import read_config
from slimjax.errors import ConfigError
from slimjax.plan import plan
from slimjax.plan.chips import CHIPS
from slimjax.plan.topology import parse_topology, prepare_libtpu
from slimjax.train.config import make_run_config


@pytest.mark.parametrize(
    ("name", "chips"),
    [("v5e:4x4", 16), ("v6e:16x16", 256), ("v4:2x2x4", 16)],
)
def test_a_slice_has_the_chips_of_its_grid(name, chips):
    topology = parse_topology(name)
    assert topology.num_chips == chips
    assert str(topology) == name


def test_each_chip_is_one_device():
    assert parse_topology("v4:4x4x4").options == {"chip_config_name": "megacore"}
    assert parse_topology("v5e:4x4").options == {}
    assert parse_topology("v5e:1x1").options == {"chips_per_host_bounds": [1, 1, 1]}


@pytest.mark.parametrize("problem", [AssertionError("one device"), ValueError("odd")])
def test_a_mesh_that_cannot_be_laid_out_is_one_line(monkeypatch, problem):
    def make_mesh(*_):
        raise problem

    monkeypatch.setattr(plan, "describe_devices", lambda _: [])
    monkeypatch.setattr(plan, "make_mesh", make_mesh)
    run = make_run_config(read_config("tiny_test"))
    with pytest.raises(ConfigError, match=r"^--topology=v4:4x4x4: config.mesh cannot"):
        plan.make_plan(run, parse_topology("v4:4x4x4"))


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("libtpu"), reason="libtpu is not installed")
@pytest.mark.parametrize("name", ["v4:2x2x1", "v5e:1x1", "v5p:2x2x1", "v6e:2x2"])
def test_every_kind_of_chip_can_be_planned_for(name):
    argv = [sys.executable, "-m", "slimjax", "plan", "--config=tiny_test"]
    argv += [f"--topology={name}", "--quick", "--json"]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["start"]["fits"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v5x:4x4", "known: v4, v5e, v5p, v6e"),
        ("4x4", "known: v4, v5e, v5p, v6e"),
        ("v5e", "must name its grid of chips, as v5e:4x4"),
        ("v5e:4xfour", "must name its grid"),
        ("v5e:0x4", "must name its grid"),
        ("v5p:8x8", "2 axes, but v5p chips stand in 3"),
        ("v5e:16x32", "the largest slice of v5e has 256"),
    ],
)
def test_what_is_no_slice_is_refused_in_one_line(name, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        parse_topology(name)
    assert "\n" not in str(error.value)


def test_newer_chips_and_larger_ones_of_a_generation_do_more():
    assert CHIPS["v6e"].tflops > CHIPS["v5p"].tflops > CHIPS["v5e"].tflops
    assert all(c.hbm_gib * 2**30 < 96 * 2**30 and c.source for c in CHIPS.values())


def test_libtpu_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'slimjax\[tpu\]'") as error:
        prepare_libtpu()
    assert "\n" not in str(error.value)
