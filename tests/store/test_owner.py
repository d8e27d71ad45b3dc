"""Before each write below a guarded folder its owner is asked, and may refuse."""

import jax.numpy as jnp
import pytest

from slimjax.errors import LostClaimError
from slimjax.store.checkpoint import Checkpoints
from slimjax.store.files import append_whole, write_atomic, write_json
from slimjax.store.owner import check_owner, guarded
from slimjax.store.run_folder import RunFolder

HISTORY = {"history": {}}


def refuse() -> None:
    raise LostClaimError("taken over")


def test_only_writes_below_the_folder_are_asked_about(tmp_path):
    root, other = tmp_path / "run", tmp_path / "run2"
    with guarded(root, refuse):
        for write in (write_atomic, append_whole):
            write(other / "a.json", b"1")
            with pytest.raises(LostClaimError):
                write(root / "a.json", b"1")
            assert not root.exists()
        with pytest.raises(LostClaimError):
            check_owner(root)
    write_json(root / "a.json", 1)
    check_owner(root)


def test_a_file_is_not_replaced_if_the_owner_changes_while_it_is_written(tmp_path):
    write_json(tmp_path / "a.json", "old")
    answers = iter([None, LostClaimError("taken over")])

    def check() -> None:
        error = next(answers)
        if error:
            raise error

    with guarded(tmp_path, check), pytest.raises(LostClaimError):
        write_json(tmp_path / "a.json", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ['"old"\n']


def test_a_checkpoint_of_another_owner_is_neither_finished_nor_removed(tmp_path):
    checkpoints, is_mine = Checkpoints(tmp_path), [True]
    state = {"a": jnp.arange(3)}
    checkpoints.save(state, HISTORY, step=1, seam=0)
    checkpoints.wait()

    def check() -> None:
        if not is_mine[0]:
            refuse()

    def lose(*_) -> None:
        is_mine[0] = False

    with guarded(tmp_path, check), pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimjax.store.checkpoint.leaf_table", lambda _: lose() or {})
        checkpoints.save(state, HISTORY, step=2, seam=0)
        with pytest.raises(LostClaimError):
            checkpoints.wait()
        with pytest.raises(LostClaimError):
            checkpoints.save(state, HISTORY, step=3, seam=0)
        assert checkpoints.unfinished() == ["00000002.00"]
        with pytest.raises(LostClaimError):
            RunFolder(tmp_path).remove_leftovers()
    assert checkpoints.list() == ["00000001.00"]
