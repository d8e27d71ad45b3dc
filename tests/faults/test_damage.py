"""Whatever happens to the files of a checkpoint is found, told and survived."""

import shutil
from random import Random

import damage
import pytest
from runs import Says, make_run, state_of

from slimjax.errors import CheckpointError
from slimjax.run import start
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.lm import load
from slimjax.trees import hash_tree


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text_folder):
    """Returns a run with three checkpoints, and the hashes of their states."""
    run, root = make_run(text_folder), tmp_path_factory.mktemp("damage") / "run"
    start.train(run, root, display=Says())
    data = load(run.data)
    hashes = {}
    for name in RunFolder(root).checkpoints.list():
        copy = RunFolder(root.with_name("copy"))
        shutil.copytree(root, copy.root)
        for later in copy.checkpoints.list():
            if later > name:
                shutil.rmtree(copy.checkpoints.path(later))
        hashes[name] = hash_tree(state_of(run, copy, data, Says()))
        shutil.rmtree(copy.root)
    return run, data, root, hashes


@pytest.mark.parametrize("way", damage.WAYS)
def test_a_damaged_checkpoint_is_told_and_an_older_one_taken(tmp_path, whole, way):
    run, data, root, hashes = whole
    names, falls = sorted(hashes), 0
    for seed in range(4):
        folder = RunFolder(tmp_path / str(seed))
        shutil.copytree(root, folder.root)
        way(folder.checkpoints.path(names[-1]), Random(seed))
        says = Says()
        state = state_of(run, folder, data, says)
        told = [line for line in says.lines if names[-1] in line]
        found = names[-1] if int(state.step) == int(names[-1][:8]) else names[-2]
        assert hash_tree(state) == hashes[found]
        assert len(told) == (found != names[-1])
        assert all("\n" not in line for line in told)
        falls += found != names[-1]
    assert falls >= 3  # A blank of the manifest may become another one.


def test_a_run_whose_checkpoints_are_all_damaged_begins_again_only_if_asked(
    tmp_path, whole
):
    run, _, root, hashes = whole
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(root, folder.root)
    folder.report.unlink()
    for name in hashes:
        damage.flip(folder.checkpoints.path(name) / "state", Random(0))
    with pytest.raises(CheckpointError, match="--allow_fresh_start") as caught:
        start.train(run, folder.root, display=Says())
    assert "\n" not in str(caught.value)
    report = start.train(run, folder.root, display=Says(), allow_fresh_start=True)
    assert report["state_hash"] == hashes[max(hashes)]
    aside = folder.root / "checkpoints.1"
    assert sorted(path.name for path in aside.iterdir()) == sorted(hashes)


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path, whole):
    run, data, root, hashes = whole
    folder, newest = RunFolder(tmp_path / "run"), max(hashes)
    shutil.copytree(root, folder.root)
    folder.report.unlink()
    damage.flip(folder.checkpoints.path(newest) / "state", Random(1))
    start.train(run, folder.root, display=Says())
    says = Says()
    state = state_of(run, RunFolder(folder.root), data, says)
    assert hash_tree(state) == hashes[newest]
    assert len(says.lines) == 1
