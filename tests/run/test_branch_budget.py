"""A branch keeps to its budget, in the measures and bits of its own config."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from stages import TABLE, make_stage

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.run.branch import blueprint_of, check_first_seam
from slimjax.run.feasible import check_branch_budget
from slimjax.run.resume import make_manifest
from slimjax.train import decide
from slimjax.train.blueprint import Blueprint
from slimjax.train.history import History
from slimjax.train.state import init_params

DENSE = (("objective.strategy", "none"), ("objective.budget", ""))


def manifest_of(*changes) -> dict:
    """Returns the manifest of a run before its first seam."""
    return make_manifest(make_stage(*changes), History(), "the text")


def branch(manifest: dict, *changes, latency=None, num_seams=0) -> Blueprint:
    """Returns the blueprint of a run that goes on from there."""
    own = make_stage(*changes).blueprint
    data = SimpleNamespace(fingerprint="the text", outline=own.outline)
    return blueprint_of(own.run, data, manifest, num_seams, latency)


def test_a_budget_whose_seams_are_all_past_is_refused():
    blueprint = branch(manifest_of(*DENSE))  # Its seams are at 10 and 15.
    check_branch_budget(blueprint, step=15, num_seams=1)
    wanted = r"config.resize.first_step=10: all seams lie before step 16.*budget='60%'"
    with pytest.raises(ConfigError, match=wanted):
        check_branch_budget(blueprint, step=16, num_seams=2)
    met = branch(manifest_of(*DENSE), ("objective.budget", "100%"))
    check_branch_budget(met, step=16, num_seams=2)


def test_bits_are_those_of_the_branch_if_it_asks_for_none():
    manifest = manifest_of(*DENSE, ("quantize.bits", "[4]"))
    blueprint = branch(manifest, *DENSE)
    assert {int(b) for own in blueprint.bits.values() for b in own} == {16}
    assert blueprint.sizes["bytes"] > 2 * manifest["start_sizes"]["bytes"]
    again = branch(manifest, *DENSE, ("quantize.bits", "[4]"))
    assert again.sizes["bytes"] == manifest["start_sizes"]["bytes"]


def test_percentages_of_the_run_before_that_cannot_be_met_are_refused():
    manifest = manifest_of(*DENSE, ("quantize.bits", "[4]"))
    asked = ("objective.size", "bytes"), ("objective.budget", "60%")
    with pytest.raises(ConfigError, match="is less than what must stay"):
        check_branch_budget(branch(manifest, *asked), step=5, num_seams=0)


def test_a_seam_that_cannot_meet_its_budget_says_so_in_one_line(monkeypatch):
    blueprint = make_stage().blueprint
    monkeypatch.setattr(decide, "measure_costs", lambda *_: ({}, None))
    nothing = SimpleNamespace(at_budget=lambda _: None)
    monkeypatch.setattr(decide, "Search", lambda *_: nothing)
    state = SimpleNamespace(step=np.int32(10))
    with pytest.raises(NotFeasibleError, match="The seam at step 10 cannot meet"):
        decide.decide(blueprint, state, None, History())


@pytest.mark.parametrize("size", ["latency", "0.5*params+0.5*latency"])
def test_a_branch_that_counts_latency_knows_how_long_the_start_takes(size):
    asked = ("objective.size", size), ("objective.budget", "60%")
    blueprint = branch(manifest_of(*DENSE), *asked, latency=TABLE)
    assert blueprint.start_sizes["latency"] == blueprint.sizes["latency"] < 0.1
    whole = {"latency": blueprint.sizes["latency"]}.get(size, 1.0)
    assert blueprint.start_sizes[size] == pytest.approx(whole)
    assert blueprint.sizes[size] == pytest.approx(whole)


@pytest.mark.parametrize("strategy", ["exchange", "taylor"])
def test_a_seam_at_once_needs_gradients_of_gates(strategy):
    stage = make_stage(("objective.strategy", strategy))
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    at = lambda step: dataclasses.replace(state, step=np.int32(step))
    check_first_seam(stage.blueprint.run, at(9))
    with pytest.raises(ConfigError, match="first_step=10 puts a seam at step 10"):
        check_first_seam(stage.blueprint.run, at(10))
    ranks = make_stage(("objective.strategy", "magnitude")).blueprint.run
    opt_state = make_stage(*DENSE).tx.init(state.params)
    check_first_seam(ranks, dataclasses.replace(at(10), opt_state=opt_state))
