"""States whose layers lie stacked: the same training, seams and checkpoints."""

import jax
import numpy as np
import pytest
from compiles import listed
from jax.sharding import PartitionSpec as P
from test_mesh import MULTIPLES, meshed, travel, walk

from slimjax import native
from slimjax.native import library
from slimjax.resize.plan import make_plan
from slimjax.store.checkpoint import Checkpoints
from slimjax.train.cutting import cut_state
from slimjax.trees import hash_tree, named_leaves

THREE = ("model.num_layers", "3"), ("optim.ema_decay", "0.5")
LOOP = ("model.scan_layers", "True")


@pytest.fixture(scope="module")
def apart():
    return travel(4, *THREE)


@pytest.fixture(scope="module")
def stacked():
    return travel(4, *THREE, LOOP)


def test_a_stacked_run_goes_the_way_of_an_unrolled_one_across_a_seam(apart, stacked):
    np.testing.assert_allclose(stacked[0], apart[0], rtol=1e-5)
    assert stacked[1].closed == apart[1].closed
    assert sum(stacked[1].closed.values()) > 0
    stage, state = stacked[2]
    assert state.params["params"].keys() == {"layers_0_2", "norm", "tokens"}
    own = stage.layout.place_unstacked(state)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    jax.tree.map(close, own, apart[2][1])


def test_layers_that_differ_after_a_cut_lie_apart(stacked):
    stage, state = stacked[2]
    closed = stage.blueprint.inventory.open_gates()
    closed["layer_0", "mlp", "mlp"][:6] = 0.0
    small, cut = cut_state(stage, state, closed, make_plan(closed))
    assert cut.params["params"].keys() == {"layer_0", "layers_1_2", "norm", "tokens"}
    whole = stage.layout.place_unstacked(state).ema["layer_0"]["mlp"]["down"]
    np.testing.assert_array_equal(cut.ema["layer_0"]["mlp"]["down"], whole[6:])
    _, losses = walk(small, cut, [4])
    assert np.isfinite(losses).all()


def test_checkpoints_know_each_layer_by_itself(stacked, tmp_path):
    stage, state = stacked[2]
    own = stage.layout.place_unstacked(state)
    assert hash_tree(stage.place(own)) == hash_tree(state)
    checkpoints = Checkpoints(tmp_path)
    name = checkpoints.save(own, {"history": {}}, 4, 0)
    checkpoints.wait()
    apart = meshed(*MULTIPLES, *THREE)
    assert hash_tree(checkpoints.restore(name, apart.abstract_state)) == hash_tree(own)
    restored = checkpoints.restore(name, stage.abstract_checkpoint)
    assert hash_tree(stage.place(restored)) == hash_tree(state)


def test_stacked_weights_are_spread_as_each_layer_would_be(apart):
    losses, _, (stage, _), _ = travel(4, *THREE, LOOP, data=2, fsdp=2, model=2)
    np.testing.assert_allclose(losses, apart[0], rtol=1e-5)
    places = {k: v.spec for k, v in named_leaves(stage.state_sharding).items()}
    found = [k for k in places if k.endswith("layers_0_2.attention.query")]
    assert len(found) == 4  # The weight, its average and two moments.
    assert {places[name] for name in found} == {P(None, "fsdp", "model", None)}


def test_one_program_takes_the_layers_of_all_saves_apart():
    stage = meshed(*THREE[:1], LOOP, fsdp=2)
    state = stage.fresh()
    others = jax.tree.map(lambda leaf: leaf + 1, state)
    with listed() as names:
        own = [stage.layout.place_unstacked(each) for each in (state, others, state)]
        back = [stage.layout.place(each) for each in own]
    assert len(names) <= 2
    hashes = [[hash_tree(tree) for tree in trees] for trees in (own, back)]
    assert hashes[1] == [hash_tree(state), hash_tree(others), hash_tree(state)]
    assert hashes[0][0] == hashes[0][2] != hashes[0][1]


def test_on_one_device_a_save_takes_no_memory_of_it(stacked, tmp_path):
    stage, state = stacked[2]
    arrays = len(jax.live_arrays())
    own = stage.layout.unstacked_to_save(state)
    assert len(jax.live_arrays()) == arrays
    assert hash_tree(own) == hash_tree(stage.layout.place_unstacked(state))
    checkpoints = Checkpoints(tmp_path)
    name = checkpoints.save(own, {"history": {}}, 4, 0)
    checkpoints.wait()
    restored = checkpoints.restore(name, stage.abstract_checkpoint)
    assert hash_tree(stage.place(restored)) == hash_tree(state)


def test_those_who_treat_layers_one_by_one_get_them_apart():
    for change in (("quantize.bits", "[8]"), ("objective.strategy", "size_decay")):
        budget = ("objective.size", "bytes"), ("objective.budget", "25%")
        assert not meshed(*THREE, LOOP, *budget, change).layout.runs


def test_a_loop_needs_no_more_memory_than_layers_apart(monkeypatch):
    """Kernels' results are kept for the gradient, and nothing that is quick to make."""
    monkeypatch.setattr(native, "is_enabled", library.register)
    shape = ("model.num_layers", "6"), ("model.dtype", "bfloat16")
    loops = [(("model.scan_layers", str(is_loop)),) for is_loop in (True, False)]
    loop, apart = (temporary_bytes(meshed(*shape, *loop)) for loop in loops)
    assert loop < apart


def temporary_bytes(stage) -> int:
    return stage.programs.train_step.memory_analysis().temp_size_in_bytes
