"""Law 6: on a mesh of devices a run does what it does on one."""

import dataclasses

import jax
import pytest
from jax.sharding import PartitionSpec as P
from test_step import make_stage

from slimjax.errors import ConfigError
from slimjax.train.mesh import MeshConfig
from slimjax.trees import named_leaves

MULTIPLES = (("resize.kv_heads_multiple", "2"), ("resize.multiple", "2"))


def meshed(*changes, data=1, fsdp=1, model=1, context=1):
    sizes = dict(data=data, fsdp=fsdp, model=model, context=context)
    asked = [(f"mesh.{axis}", str(size)) for axis, size in sizes.items()]
    return make_stage(*asked, *changes)


def test_one_axis_takes_the_devices_that_are_left():
    sizes = MeshConfig(data=2, fsdp=-1, model=2).sizes(16)
    assert sizes == {"data": 2, "fsdp": 4, "model": 2, "context": 1}
    assert MeshConfig(data=1).sizes(8)["data"] == 1


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
    assert set(places) == set(named_leaves(stage.abstract_state))


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
    assert dataclasses.asdict(stage.run.mesh)["model"] == 2
    assert stage.mesh.devices.size == 2 < jax.device_count()
