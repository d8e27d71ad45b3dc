"""A checkpoint is whole, or it does not count."""

import gc
import json
import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts

from slimjax import processes
from slimjax.errors import CheckpointError
from slimjax.store.checkpoint import Checkpoints
from slimjax.store.keep import Keep
from slimjax.store.manifest import MANIFEST, _weigh


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
    return Checkpoints(tmp_path / "checkpoints", Keep(latest=2))


def save(checkpoints, state, manifest=None, *, step: int, seam: int = 0) -> str:
    """Saves and waits."""
    whole = {"history": {}} | (manifest or {})
    name = checkpoints.save(state, whole, step, seam)
    checkpoints.wait()
    return name


def test_what_is_saved_comes_back_to_the_bit(checkpoints):
    name = save(checkpoints, make_state(), {"history": {"a": 1}}, step=7)
    restored = checkpoints.restore(name, target())
    jax.tree.map(np.testing.assert_array_equal, restored, make_state())
    assert checkpoints.read_manifest(name)["history"] == {"a": 1}
    part = checkpoints.restore_part(name, "params")
    jax.tree.map(np.testing.assert_array_equal, part, make_state()["params"])


def test_states_before_and_after_a_seam_stand_in_order(checkpoints):
    for seam in (0, 1):
        save(checkpoints, make_state(seam), step=7, seam=seam)
    assert checkpoints.list() == ["00000007.00", "00000007.01"]


def test_the_hundredth_seam_comes_after_the_ninety_ninth(checkpoints):
    for seam in (98, 99, 100, 101):
        save(checkpoints, make_state(seam), step=7, seam=seam)
    assert checkpoints.list() == ["00000007.100", "00000007.101"]
    (checkpoints.path("00000007.101") / MANIFEST).unlink()
    assert checkpoints.unfinished() == ["00000007.101"]
    assert checkpoints.list() == ["00000007.100"]


def test_only_the_newest_are_kept(checkpoints):
    for step in (1, 2, 3, 10):
        save(checkpoints, make_state(), step=step)
    assert checkpoints.list() == ["00000003.00", "00000010.00"]
    assert len(list(checkpoints.directory.iterdir())) == 2


def test_a_folder_without_its_manifest_is_no_checkpoint(checkpoints):
    name = save(checkpoints, make_state(), step=1)
    (checkpoints.directory / name / MANIFEST).unlink()
    (checkpoints.directory / "junk").mkdir()
    assert checkpoints.list() == []


def test_every_flipped_byte_is_found(checkpoints):
    name = save(checkpoints, make_state(), step=1)
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
    one = save(checkpoints, make_state(), step=1)
    other = save(checkpoints, make_state(1.0), step=2)
    (checkpoints.directory / one / "state").rename(checkpoints.directory / "aside")
    (checkpoints.directory / other / "state").rename(
        checkpoints.directory / one / "state"
    )
    with pytest.raises(CheckpointError, match="has changed"):
        checkpoints.restore(one, target())


def test_another_model_is_refused_by_the_name_of_what_differs(checkpoints):
    name = save(checkpoints, make_state(), step=1)
    wrong = target() | {"step": jax.ShapeDtypeStruct((2,), jnp.int32)}
    with pytest.raises(CheckpointError, match="step differs"):
        checkpoints.restore(name, wrong)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', "[" * 9999])
def test_a_damaged_manifest_is_one_line(checkpoints, text):
    name = save(checkpoints, make_state(), step=1)
    (checkpoints.directory / name / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.restore(name, target())
    assert "\n" not in str(caught.value)


def test_the_manifest_has_a_crc_of_every_leaf(checkpoints):
    name = save(checkpoints, make_state(), step=1)
    leaves = json.loads((checkpoints.directory / name / MANIFEST).read_text())["leaves"]
    assert set(leaves) == {"params.b", "params.w", "step"}
    assert leaves["params.w"]["shape"] == [2, 3]


def test_every_flipped_character_of_a_manifest_is_found_or_means_nothing(checkpoints):
    name = save(checkpoints, make_state(), step=1)
    path = checkpoints.directory / name / MANIFEST
    whole, meant = path.read_bytes(), checkpoints.read_manifest(name)
    num_found = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        try:
            found = checkpoints.read_manifest(name)
        except CheckpointError:
            num_found += 1
        else:
            assert found == meant  # A blank became another.
    assert num_found > len(whole) // 14


def test_a_state_may_be_overwritten_while_it_is_saved(checkpoints):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 2 + 1, s), donate_argnums=0)
    state = jax.block_until_ready(step(make_state()))
    expected = jax.tree.map(lambda x: np.array(x, copy=True), state)
    name = checkpoints.save(state, {"history": {}}, step=1, seam=0)
    for _ in range(20):
        state = step(state)
    checkpoints.wait()
    restored = checkpoints.restore(name, target())
    jax.tree.map(np.testing.assert_array_equal, restored, expected)


def test_a_failed_save_is_told_once_and_the_next_one_works(checkpoints, monkeypatch):
    save(checkpoints, make_state(), step=1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slimjax.store.checkpoint.file_table", full)
    checkpoints.save(make_state(), {"history": {}}, 2, 0)
    with pytest.raises(CheckpointError, match=r"00000002.00 .*No space left"):
        checkpoints.wait()
    checkpoints.wait()
    assert [p.name for p in checkpoints.directory.iterdir()] == ["00000001.00"]
    monkeypatch.undo()
    save(checkpoints, make_state(), step=2)
    assert checkpoints.list() == ["00000001.00", "00000002.00"]
    checkpoints.restore("00000001.00", target())


def test_the_best_and_the_durable_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", Keep(latest=1, best=1, every_steps=4))
    errors = {1: 3.0, 2: 1.0, 3: float("nan"), 4: 2.0, 5: float("inf"), 6: 2.0}
    for step, error in errors.items():
        save(checkpoints, make_state(), {"valid_error": error}, step=step)
    steps = [int(name[:8]) for name in checkpoints.list()]
    assert steps == [2, 4, 6]
    save(checkpoints, make_state(), {"valid_error": 5.0}, step=6, seam=1)
    save(checkpoints, make_state(), step=7, seam=1)
    assert checkpoints.list() == ["00000004.00", "00000006.01", "00000007.01"]


def test_a_distrusted_checkpoint_is_written_again(checkpoints):
    name = save(checkpoints, make_state(), step=1)
    checkpoints.distrust(name)
    assert checkpoints.list() == []
    save(checkpoints, make_state(5.0), step=2)  # It goes with the next one.
    assert [p.name for p in checkpoints.directory.iterdir()] == ["00000002.00"]


def test_writes_that_fail_beside_one_that_is_told_are_not_told(checkpoints, caplog):
    assert not checkpoints.list()
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    assert not caplog.records


def test_links_are_no_checkpoints_and_nothing_behind_them_goes(checkpoints, tmp_path):
    name = save(checkpoints, make_state(), step=1)
    outside = tmp_path / "outside"
    (checkpoints.directory / name).rename(outside)
    (checkpoints.directory / name).symlink_to(outside)
    assert checkpoints.list() == []
    checkpoints.save(make_state(), {"history": {}}, 9, 0)
    checkpoints.wait()
    assert not (checkpoints.directory / name).exists()
    assert (outside / MANIFEST).is_file()


@pytest.mark.parametrize("name", ["run", "a 'run'", "l\u00e4uft"])
def test_places_of_arrays_are_told_as_tensorstore_tells_them(tmp_path, name):
    spec = ts.KvStore.Spec({"driver": "file", "path": f"{tmp_path}/{name}/"})
    Checkpoints(tmp_path)
    assert spec.to_json() == {"driver": "file", "path": f"{tmp_path}/{name}/"}


def test_telling_the_place_of_an_array_leaves_nothing_behind(tmp_path):
    spec = ts.KvStore.Spec({"driver": "file", "path": "/tmp/"})
    Checkpoints(tmp_path)
    spec.to_json()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        spec.to_json()
    gc.collect()
    assert sys.getallocatedblocks() < before + 500  # Tensorstore's own leaves 3800.


def test_each_process_weighs_its_share_of_the_files(checkpoints, monkeypatch):
    name = save(checkpoints, make_state(), step=1)
    state, shares = checkpoints.path(name) / "state", []

    def note(path, **options):
        shares[-1].append(path)
        return _weigh(path, **options)

    monkeypatch.setattr("slimjax.store.manifest._weigh", note)
    monkeypatch.setattr(processes, "count", lambda: 2, raising=False)
    for rank in (0, 1):
        shares.append([])
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank, raising=False)
        checkpoints.restore(name, target())
    files = sorted(path for path in state.rglob("*") if path.is_file())
    assert sorted(shares[0] + shares[1]) == files
    assert abs(len(shares[0]) - len(shares[1])) <= 1
    whole = shares[1][0].read_bytes()
    shares[1][0].write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="has changed"):
        checkpoints.restore(name, target())
    shares[1][0].write_bytes(whole)
    shares[0][0].unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        checkpoints.restore(name, target())
