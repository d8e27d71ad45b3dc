"""Outcomes on disk come back as they were, or not at all."""

import numpy as np
import pytest

from slimjax.distill.outcome_store import OutcomeStore, record_type, store_folder
from slimjax.distill.outcomes import Outcomes
from slimjax.errors import DataError

T, K, V, R = 5, 3, 70_000, 20
RECORD = record_type(T, K, V)


def draw_outcomes(rows, seed: int = 0) -> Outcomes:
    """Returns outcomes that are a function of the row and the seed."""
    ids, logs = [], []
    for row in rows:
        draw = np.random.default_rng([seed, row])
        ids.append(draw.integers(0, V, (T, K)))
        logs.append(draw.normal(size=(T, K + 1)))
    return Outcomes(np.array(ids, np.int32), np.array(logs, np.float16))


def same(store: OutcomeStore, rows, seed: int = 0) -> None:
    found, expected = store.read(np.array(rows)), draw_outcomes(rows, seed)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.logs, expected.logs)
    assert (found.ids.dtype, found.logs.dtype) == (np.int32, np.float16)


@pytest.fixture
def store(tmp_path):
    return OutcomeStore(tmp_path / "store", RECORD, R)


def fill(store: OutcomeStore, rows, seed: int = 0) -> None:
    store.add(np.array(rows), draw_outcomes(rows, seed))


def test_rows_come_back_in_any_order_and_from_any_piece(store):
    fill(store, [3, 19, 0])
    fill(store, [7])
    again = OutcomeStore(store.folder, RECORD, R)
    for opened in (store, again):
        same(opened, [7, 0, 0, 3])
        assert opened.missing(np.array([1, 3, 7, 8])).tolist() == [1, 8]


def test_what_was_read_once_is_read_again(store):
    fill(store, [3])
    fill(store, [3, 4], seed=1)  # As another machine may see the same row.
    for opened in (store, OutcomeStore(store.folder, RECORD, R)):
        same(opened, [3])
        same(opened, [4], seed=1)


def test_a_piece_of_somebody_else_is_seen_when_asked(store):
    other = OutcomeStore(store.folder, RECORD, R)
    fill(other, [5])
    assert store.missing(np.array([5])).tolist() == [5]
    store.refresh()
    same(store, [5])


@pytest.mark.parametrize("place", [-1, -RECORD.itemsize])
def test_a_flipped_byte_is_found_and_the_piece_is_out_of_the_way(store, place):
    fill(store, [1])
    fill(store, [2])
    path = sorted(store.folder.glob("*.npy"))[1]
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    damaged = OutcomeStore(store.folder, RECORD, R)
    if not len(damaged.missing(np.array([2]))):
        with pytest.raises(DataError, match="are damaged") as caught:
            damaged.read(np.array([2]))
        assert "\n" not in str(caught.value)
        assert not path.exists()
    again = OutcomeStore(store.folder, RECORD, R)
    assert again.missing(np.array([1, 2])).tolist() == [2]
    same(again, [1])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_piece_that_is_none_counts_as_not_there(store, content):
    fill(store, [1])
    path = next(store.folder.glob("*.npy"))
    path.write_bytes(path.read_bytes()[:-3] if content is None else content)
    again = OutcomeStore(store.folder, RECORD, R)
    assert again.missing(np.array([1])).tolist() == [1]
    fill(again, [1])
    same(OutcomeStore(store.folder, RECORD, R), [1])


def test_objects_are_not_read(store):
    store.folder.mkdir()
    np.save(store.folder / "00000000-a.npy", np.array([print]), allow_pickle=True)
    assert len(OutcomeStore(store.folder, RECORD, R).missing(np.arange(R))) == R


def test_a_write_that_fails_leaves_nothing_behind(store, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_room)
        with pytest.raises(DataError, match="No space left"):
            fill(store, [1])
    assert not list(store.folder.iterdir())
    (store.folder / ".draft-killed").write_bytes(b"half")
    store.remove_leftovers()
    assert not list(store.folder.iterdir())


def test_names_tell_teachers_texts_and_numbers_of_outcomes_apart():
    names = {store_folder(*x) for x in [("a", "b", 1), ("a", "b", 2), ("b", "a", 1)]}
    assert len(names) == 3
