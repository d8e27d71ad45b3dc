"""Law 6: on a mesh of devices a run does what it does on one."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from stages import make_stage, stage_of

from slimjax.data.batches import make_batch
from slimjax.errors import ConfigError
from slimjax.mesh.mesh import MeshConfig, make_mesh, mesh_here
from slimjax.nn.axes import to_host
from slimjax.resize.plan import make_plan
from slimjax.store.checkpoint import Checkpoints
from slimjax.train.cutting import cut_state
from slimjax.train.history import History
from slimjax.train.seam import take_seam
from slimjax.trees import hash_tree, named_leaves

MULTIPLES = (("resize.kv_heads_multiple", "2"), ("resize.multiple", "2"))
BITS = (("objective.size", "bytes"), ("objective.budget", "25%"))
BITS += (("quantize.bits", "[4, 8, 16]"), ("optim.ema_decay", "0.5"))
WIDTH = (*BITS, ("resize.units", '["mlp", "embed"]'), ("resize.width_multiple", "8"))
WIDTH += (("objective.budget", "8%"),)
WHOLE = dict(data=2, fsdp=2, model=2)


def meshed(*changes, data=1, fsdp=1, model=1, context=1):
    sizes = dict(data=data, fsdp=fsdp, model=model, context=context)
    asked = [(f"mesh.{axis}", str(size)) for axis, size in sizes.items()]
    return make_stage(*asked, *changes)


def draw(stage, step, seed=0):
    rows = np.random.default_rng(seed).integers(3, 259, (40, 9))
    return stage.put(make_batch(rows, step, 8, seed=0))


def walk(stage, state, steps):
    """Returns the state after some steps, and their losses."""
    losses = []
    for step in steps:
        state, sums = stage.programs.train_step(state, draw(stage, step))
        losses.append(float(sums["nats_sum"]) / float(sums["num_targets"]))
    return state, losses


def travel(num_steps, *changes, **sizes):
    """Returns the losses before and after the last seam, the seam, and the ends."""
    stage = meshed(*MULTIPLES, *changes, **sizes)
    before, losses = walk(stage, stage.fresh(), range(num_steps))
    measure = lambda i: draw(stage, i, seed=1)
    small, state, entry = take_seam(stage, before, measure, History(num_seams=1))
    assert entry.taken
    state, more = walk(small, state, range(num_steps, 2 * num_steps))
    return losses + more, entry, (stage, before), (small, state)


def test_one_axis_takes_the_devices_that_are_left():
    sizes = MeshConfig(data=2, fsdp=-1, model=2).sizes(16)
    assert sizes == {"data": 2, "fsdp": 4, "model": 2, "context": 1}
    assert MeshConfig(data=1).sizes(8)["data"] == 1
    assert mesh_here(MeshConfig(fsdp=4)) == MeshConfig(fsdp=4)
    assert mesh_here(MeshConfig(fsdp=16)) == MeshConfig(data=1)  # Eight are here.


def test_all_of_the_state_lies_as_its_axes_are_named():
    changes = ("optim.ema_decay", "0.9"), ("quantize.bits", "[8]")
    stage = meshed(*changes, *MULTIPLES, data=2, fsdp=2, model=2)
    places = {k: v.spec for k, v in named_leaves(stage.state_sharding).items()}
    query = P("fsdp", "model", None)
    same = [k for k, spec in places.items() if k.endswith("attention.query")]
    for name in same:
        expected = P("model") if name.startswith("precision") else query
        assert places[name] == expected, name
    assert len(same) == 5  # The weight, its average, two moments and its fits.
    mlp = [k for k in places if k.endswith(".mlp.mlp")]
    assert len(mlp) == 3  # Gates, the moments of their gradients, and bits.
    assert {places[name] for name in mlp} == {P("model")}
    assert places["params.params.tokens.embedding"] == P(None, "fsdp")  # 259 rows.
    assert places["step"] == P()
    assert set(places) == set(named_leaves(stage.abstract_checkpoint))


@pytest.fixture(scope="module")
def alone():
    return travel(10, *BITS)


@pytest.fixture(scope="module")
def shared():
    return travel(10, *BITS, **WHOLE)


def test_eight_devices_go_the_way_of_one_across_a_seam(alone, shared):
    agree(shared, alone)
    assert len(shared[1].bits) > 1
    assert sum(shared[1].closed.values()) > 0


def agree(one, other):
    np.testing.assert_allclose(one[0], other[0], rtol=1e-5)
    blueprints = [run[3][0].blueprint for run in (one, other)]
    assert blueprints[0].architecture() == blueprints[1].architecture()
    assert one[1].closed == other[1].closed
    assert one[1].bits == other[1].bits
    assert one[1].after["bytes"] == other[1].after["bytes"]
    # A cost between two numbers of three digits may be rounded to either.
    assert one[1].alpha == pytest.approx(other[1].alpha, rel=0.005)


def test_a_state_saved_on_one_mesh_is_the_same_on_another(shared, tmp_path):
    small, state = shared[3]
    checkpoints = Checkpoints(tmp_path)
    name = checkpoints.save(state, {"history": {}}, 20, 2)
    checkpoints.wait()
    for sizes in (dict(), dict(data=4, model=2), dict(fsdp=4)):
        stage = meshed(*MULTIPLES, *BITS, **sizes)
        blueprint = small.blueprint
        bits = blueprint.bits
        other = stage_of(stage.blueprint.run, blueprint.model, given_bits=bits)
        restored = checkpoints.restore(name, other.abstract_checkpoint)
        assert hash_tree(restored) == hash_tree(state)
        batches = zip(draw(small, 3).values(), draw(other, 3).values(), strict=True)
        assert all(np.array_equal(a, b) for a, b in batches)


def test_devices_cut_to_the_bits_that_the_host_cuts(alone, shared):
    """Gates that are half open are folded, channels go, a whole sublayer goes."""
    (stage, state), (one, _) = shared[2], alone[2]
    closed, generator = stage.blueprint.inventory.open_gates(), np.random.default_rng(0)
    closed["layer_0", "mlp", "mlp"] = generator.choice([0, 0, 0.3, 0.7], 24).repeat(2)
    closed["embed",] = generator.choice([0, 1.0], 16).repeat(2)
    closed["layer_0", "attention", "sublayer"] = np.zeros(())
    plan = make_plan(closed)
    small, cut = cut_state(stage, state, closed, plan)
    _, expected = cut_state(one, one.place(to_host(state)), closed, plan)
    assert hash_tree(cut) == hash_tree(expected)
    assert not small.blueprint.model.layers[0].attention
    assert jax.tree.map(lambda leaf: leaf.sharding, cut) == small.state_sharding


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), BITS, WIDTH])
def test_every_mesh_goes_the_same_way_for_fifty_steps(changes):
    alone = travel(25, *changes)
    for sizes in (
        dict(data=8),
        dict(fsdp=8),
        dict(data=4, fsdp=2),
        dict(data=4, model=2),
    ):
        agree(travel(25, *changes, **sizes), alone)
    agree(travel(25, *changes, **WHOLE), alone)


@pytest.mark.parametrize(
    ("sizes", "changes", "words"),
    [
        (dict(data=-1, fsdp=-1), (), "mesh.data=-1 and config.mesh.fsdp=-1"),
        (dict(fsdp=0), (), "mesh.fsdp=0 must be 1 or more"),
        (dict(data=4, model=4), (), "16 devices, more than the 8"),
        (dict(data=-1, model=3), (), "mesh.data=-1: 8 devices"),
        (dict(data=8), [("data.batch_size", "12")], "batch_size=12 must be a multiple"),
        (dict(data=8), [("optim.accumulation_steps", "2")], "accumulation_steps=2"),
        (dict(model=4), (), "mesh.model=4 cannot divide axis kv_heads of length 2"),
        (dict(fsdp=8), [("model.width", "36")], "make .*config.model.width a multiple"),
        (
            dict(context=2),
            (),
            r"mesh.context=2 cannot divide axis positions of length 9 in batch tokens",
        ),
        (dict(model=2), (), r"resize.multiple=1 must be a multiple of config.mesh.mod"),
        (
            dict(fsdp=2),
            [("resize.units", '["embed"]'), ("resize.width_multiple", "3")],
            r"width_multiple=3 .* config.mesh.fsdp=2.* Set it to 6",
        ),
    ],
)
def test_a_mesh_that_cannot_divide_is_refused_in_one_line(sizes, changes, words):
    with pytest.raises(ConfigError, match=f"(?i){words}") as caught:
        meshed(*changes, **sizes)
    assert "\n" not in str(caught.value)


def test_without_seams_nothing_has_to_stay_a_multiple():
    changes = ("objective.strategy", "none"), ("objective.budget", '""')
    stage = meshed(*changes, model=2)
    assert dataclasses.asdict(stage.blueprint.run.mesh)["model"] == 2
    assert stage.mesh.devices.size == 2 < jax.device_count()


def test_several_processes_leave_no_device_idle(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match="4 of the 8 devices of these 2 processes"):
        make_mesh(MeshConfig(data=4))
    assert make_mesh(MeshConfig(data=4, model=2)).devices.size == jax.device_count()
