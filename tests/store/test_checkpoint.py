"""A checkpoint is whole, or it does not count."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.errors import CheckpointError
from slimjax.store.checkpoint import MANIFEST, Checkpoints


def make_state(shift: float = 0.0) -> dict:
    weights = jnp.arange(6, dtype=jnp.float32).reshape(2, 3) + shift
    return {
        "params": {"w": weights, "b": jnp.ones(3, jnp.bfloat16)},
        "step": jnp.int32(7),
    }


def target() -> dict:
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), make_state()
    )


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", num_kept=2)


def test_what_is_saved_comes_back_to_the_bit(checkpoints):
    name = checkpoints.save(make_state(), {"history": {"a": 1}}, step=7, seam=0)
    restored = checkpoints.restore(name, target())
    jax.tree.map(np.testing.assert_array_equal, restored, make_state())
    assert checkpoints.read_manifest(name)["history"] == {"a": 1}
    part = checkpoints.restore_part(name, "params")
    jax.tree.map(np.testing.assert_array_equal, part, make_state()["params"])


def test_states_before_and_after_a_seam_stand_in_order(checkpoints):
    for seam in (0, 1):
        checkpoints.save(make_state(seam), {}, step=7, seam=seam)
    assert checkpoints.list() == ["00000007.00", "00000007.01"]


def test_only_the_newest_are_kept(checkpoints):
    for step in (1, 2, 3, 10):
        checkpoints.save(make_state(), {}, step=step, seam=0)
    assert checkpoints.list() == ["00000003.00", "00000010.00"]
    assert len(list(checkpoints.directory.iterdir())) == 2


def test_a_folder_without_its_manifest_is_no_checkpoint(checkpoints):
    name = checkpoints.save(make_state(), {}, step=1, seam=0)
    (checkpoints.directory / name / MANIFEST).unlink()
    (checkpoints.directory / "junk").mkdir()
    assert checkpoints.list() == []


def test_every_flipped_byte_is_found(checkpoints):
    name = checkpoints.save(make_state(), {}, step=1, seam=0)
    folder = checkpoints.directory / name / "state"
    files = [f for f in folder.rglob("*") if f.is_file() and f.stat().st_size]
    for file in files:
        whole = file.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            file.write_bytes(bytes(damaged))
            with pytest.raises(CheckpointError, match=f"{file.name} has changed"):
                checkpoints.restore(name, target())
        file.write_bytes(whole)
    assert len(files) > 3


def test_arrays_of_another_checkpoint_are_found(checkpoints):
    one = checkpoints.save(make_state(), {}, step=1, seam=0)
    other = checkpoints.save(make_state(1.0), {}, step=2, seam=0)
    (checkpoints.directory / one / "state").rename(checkpoints.directory / "aside")
    (checkpoints.directory / other / "state").rename(
        checkpoints.directory / one / "state"
    )
    with pytest.raises(CheckpointError, match="has changed"):
        checkpoints.restore(one, target())


def test_another_model_is_refused_by_the_name_of_what_differs(checkpoints):
    name = checkpoints.save(make_state(), {}, step=1, seam=0)
    wrong = target() | {"step": jax.ShapeDtypeStruct((2,), jnp.int32)}
    with pytest.raises(CheckpointError, match="step differs"):
        checkpoints.restore(name, wrong)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}'])
def test_a_damaged_manifest_is_one_line(checkpoints, text):
    name = checkpoints.save(make_state(), {}, step=1, seam=0)
    (checkpoints.directory / name / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.restore(name, target())
    assert "\n" not in str(caught.value)


def test_the_manifest_has_a_crc_of_every_leaf(checkpoints):
    name = checkpoints.save(make_state(), {}, step=1, seam=0)
    leaves = json.loads((checkpoints.directory / name / MANIFEST).read_text())["leaves"]
    assert set(leaves) == {"params.b", "params.w", "step"}
    assert leaves["params.w"]["shape"] == [2, 3]
