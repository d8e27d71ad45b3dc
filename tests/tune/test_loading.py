"""The data of folds: read once, and refused before training where they differ."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from slimjax.config import override, read_config
from slimjax.data.labels import Labels
from slimjax.errors import ConfigError, DataError
from slimjax.run.progress import Display
from slimjax.store.run_folder import RunFolder
from slimjax.tune import loading
from slimjax.tune.loading import check_alike
from slimjax.tune.preparing import prepare
from slimjax.tune.request import Request

FOLDS = 3
REQUEST = Request(points=2, folds=FOLDS, smallest="50%", cost=50.0)


def fold(names=("a", "b"), **sizes) -> Any:
    return SimpleNamespace(
        codecs={"label": Labels(names, [1] * len(names))}, sizes=sizes
    )


def test_each_fold_is_read_once(text_folder, tmp_path, monkeypatch):
    read, load_in_turn = [], loading.load_in_turn

    def load(run, *rest):
        read.append(run.data.fold)
        return load_in_turn(run, *rest)

    monkeypatch.setattr(loading, "load_in_turn", load)
    changes = [("data.source", f"text:{text_folder}/part1*.txt"), ("mesh.data", "1")]
    config = override(read_config("configs/tiny_test.py"), changes)
    display = Display(quiet=True)
    prepared = prepare(config, REQUEST, tmp_path / "t", display)
    assert read == [0, 1, 2]
    found = {}
    for _ in range(2):
        for walk in prepared.walks(tmp_path / "t"):
            piece = next(walk.pieces())
            folder = RunFolder(tmp_path / "t" / piece.name)
            data = prepared.load(piece.run, folder, display)
            assert found.setdefault(piece.run.data.fold, data) is data
    assert read == [0, 1, 2]
    assert len({data.fingerprint for data in found.values()}) == FOLDS


def test_folds_that_are_alike_pass():
    check_alike([fold(vocab=300), fold(vocab=300)])


def test_a_fold_that_lacks_a_label_is_refused():
    told = r"Fold 1 has no training example of c, d, and other folds have"
    with pytest.raises(ConfigError, match=told):
        check_alike([fold(("a", "b", "c", "d")), fold(("a", "b")), fold(("a", "c"))])


def test_a_smaller_vocabulary_is_refused_with_the_one_that_fits_all():
    with pytest.raises(ConfigError, match="Fold 1 has vocab=290, and fold 2") as found:
        check_alike([fold(vocab=300), fold(vocab=290), fold(vocab=310)])
    assert str(found.value).endswith("Set config.data.vocab_size=290.")
    with pytest.raises(ConfigError, match="Take fewer --folds"):
        check_alike([fold(features=3), fold(features=4)])


def test_what_a_later_fold_lacks_is_found_before_training(tmp_path):
    """Only the fold that holds out the one example of a label cannot be trained."""
    path = tmp_path / "examples.jsonl"
    rows = [
        {"text": f"{'ab'[i % 2]} number {i}", "label": "ab"[i % 2]} for i in range(90)
    ]
    rows.append({"text": "something else", "label": "rare"})
    path.write_text("\n".join(map(json.dumps, rows)))
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=16, batch_size=4),
        model=dict(kind="encoder", width=8, num_layers=1, num_heads=2, mlp_dim=8),
        objective=dict(size="params"),
        train=dict(num_steps=100),
        mesh=dict(data=1),
    )
    with pytest.raises((ConfigError, DataError), match=r"(?i)^fold \d.*rare"):
        prepare(config, REQUEST, tmp_path / "t", Display(quiet=True))
    assert not (tmp_path / "t").exists()
