"""The runner of a tune, with trainings that only pretend."""

import dataclasses
import json
import math

import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.run.losses import write_losses
from slimjax.run.progress import Display
from slimjax.store.files import write_json
from slimjax.train.config import make_run_config
from slimjax.tune import tuning as room
from slimjax.tune.answer import answer, list_answers
from slimjax.tune.claims import Claims
from slimjax.tune.fresh import list_fresh
from slimjax.tune.path import describe_own, make_recipe
from slimjax.tune.preparing import prepare
from slimjax.tune.record import _note_few
from slimjax.tune.request import Request, choose_sizes
from slimjax.tune.tuning import Tuner

POINTS = 4


@pytest.fixture
def config(text_folder):
    changes = [("data.source", f"text:{text_folder}/part1*.txt"), ("mesh.data", "1")]
    changes += [("model.num_layers", "1")]
    changes += [("train.num_steps", "200"), ("objective.size", "bytes")]
    changes += [("quantize.bits", "[16, 8, 4]")]
    return override(read_config("configs/tiny_test.py"), changes)


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; returns the runs by the folders trained in."""
    runs = {}

    def train(run, workdir, **options):
        del options
        runs[f"{workdir.parent.name}/{workdir.name}"] = run
        write_run(run, workdir)
        return json.loads((workdir / "report.json").read_text())

    monkeypatch.setattr(room, "train", train)
    monkeypatch.setattr(room, "SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr("jax.clear_caches", lambda: None)
    monkeypatch.setattr("gc.collect", lambda: None)
    return runs


def write_run(run, workdir):
    """Writes what a run of such a config could have left behind."""
    before = run.train.continue_from
    start = 0 if not before else read_report(before)["train"]["steps"]
    inherited = 0.0 if not before else read_report(before)["train"]["flops_total"]
    size = run.objective.budget or (
        read_report(before)["size"]["packed_file_bytes"] if before else 60_000.0
    )
    flops_of_token = min(68_000.0, size)
    num_steps = run.train.num_steps - start
    spent = 3 * flops_of_token * 256 * num_steps
    rng = np.random.default_rng([run.data.fold, 7])
    targets = rng.integers(50, 90, 30)
    error = 2.0 + 1000.0 / size + rng.normal(0, 0.3, 30)
    workdir.mkdir(parents=True)
    write_losses(
        workdir / "losses-valid.jsonl",
        {"nats": error * targets, "targets": targets, "bytes": targets},
    )
    metric = {"key": "bits_per_byte", "words": "bits per byte", "better": "low"}
    write_json(workdir / "config.json", run.as_dict())
    write_json(
        workdir / "report.json",
        {
            "size": {
                "params": size / 2,
                "packed_file_bytes": size,
                "flops_per_token": flops_of_token,
                "alpha": 0.0 if size > 50_000 else 500 / size,
                "fraction": 1.0,
            },
            "train": {
                "steps": run.train.num_steps,
                "flops_total": inherited + spent,
                "flops_inherited": inherited,
                "teacher_flops": 0.0,
            },
            "stages": [{"flops_per_token": flops_of_token, "num_steps": num_steps}],
            "error": {"test_nats_per_target": 2.0 + 1000.0 / size},
            "metrics": [metric | {"valid": 3.0, "test": 3.1}],
            "data": {"tokens_train": 100, "tokens_valid": 10},
        },
    )


def read_report(folder):
    from pathlib import Path

    return json.loads((Path(folder) / "report.json").read_text())


def make(config, root, **flags):
    request = Request(**({"points": POINTS, "folds": 2, "smallest": "40%"} | flags))
    return Tuner(prepare(config, request, root, Display(quiet=True)), root, quiet=True)


def test_pieces_continue_one_another_and_decays_branch_off(config, trained, tmp_path):
    tuner = make(config, tmp_path / "t")
    content = tuner.walk_folds()
    names = [f"trunk/{k}" for k in range(POINTS)]
    names += [f"fold{f}/point{k}" for f in range(2) for k in range(POINTS)]
    assert {*trained} == {*names}
    sizes = [point["budget"] for point in content["points"]]
    for k in range(1, POINTS):
        run = trained[f"trunk/{k}"]
        assert run.train.continue_from.endswith(f"fold1/trunk/{k - 1}")
        assert (run.objective.strategy, run.objective.budget) == ("exchange", sizes[k])
        assert run.optim.decay_fraction == 0
        start = trained[f"trunk/{k - 1}"].train.num_steps
        assert start < run.seam_steps[0] <= run.seam_steps[-1] < run.train.num_steps
        end = trained[f"fold1/point{k}"]
        assert end.train.continue_from.endswith(f"fold1/trunk/{k}")
        assert (end.objective.strategy, end.seam_steps) == ("none", ())
        decay = end.train.num_steps - run.train.num_steps
        assert end.optim.decay_fraction * end.train.num_steps == pytest.approx(decay)
    assert {run.data.num_folds for run in trained.values()} == {2}
    assert {run.train.eval_every_steps for run in trained.values()} == {0}
    assert trained["trunk/0"].seam_steps == ()


@pytest.mark.slow
def test_a_fold_costs_what_it_may(config, trained, tmp_path):
    content = make(config, tmp_path / "t", cost=5.0).walk_folds()
    assert len(trained) == 3 * POINTS
    for spent in content["spent_in_runs"]:
        assert 4.98 < spent <= 5.0


def test_the_file_is_the_same_whoever_writes_it(config, trained, tmp_path):
    make(config, tmp_path / "a").walk_folds()
    first = (tmp_path / "a" / "tune.json").read_bytes()
    tuner = make(config, tmp_path / "b")
    other = Claims(tmp_path / "b" / "claims", host="elsewhere")
    claim = other.take("fold0/trunk/0", tmp_path / "b" / "fold0" / "trunk" / "0")
    trained.clear()
    walks = tuner.prepared.walks(tmp_path / "b")
    assert tuner._run_one(walks)
    assert [*trained] == ["trunk/0"]
    assert (tmp_path / "b" / "fold1" / "trunk" / "0").is_dir()
    assert not (tmp_path / "b" / "fold0").exists()
    claim.drop()
    assert tuner._run_one(walks)  # It stays in its fold.
    assert [*trained] == ["trunk/0", "fold1/point0"]
    tuner.walk_folds()
    assert (tmp_path / "b" / "tune.json").read_bytes() == first
    for word in (str(tmp_path), "host", "time", "seconds"):
        assert word not in first.decode()


@pytest.mark.slow
def test_a_finished_folder_trains_nothing(config, trained, tmp_path):
    tuner = make(config, tmp_path / "t")
    tuner.walk_folds()
    trained.clear()
    make(config, tmp_path / "t").walk_folds()
    log = (tmp_path / "t" / "log.jsonl").read_bytes()
    (piece, *_) = tuner.prepared.walks(tmp_path / "t")[0].pieces()
    # As it looked before another process, which has ended since, finished it.
    assert tuner._attempt(dataclasses.replace(piece, is_done=False))
    assert not trained
    assert (tmp_path / "t" / "log.jsonl").read_bytes() == log


def test_the_chosen_size_is_trained_on_all_folds(config, trained, tmp_path):
    tuner = make(config, tmp_path / "t")
    tuner.walk_folds()
    trained.clear()
    tuner.refit(2)
    assert [*trained] == ["trunk/0", "trunk/1", "trunk/2", "t/chosen"]
    data = trained["t/chosen"].data
    assert (data.num_folds, data.valid_fraction) == (1, 0.0)
    with pytest.raises(ConfigError, match="chosen"):
        tuner.refit(1)


def test_the_answer_is_in_words(config, trained, tmp_path):
    del trained
    content = make(config, tmp_path / "t").walk_folds()
    found = answer(content, "alpha=0.05")
    assert found.number == min(
        range(POINTS),
        key=lambda k: (
            0.05 * content["points"][k]["fraction"] + content["points"][k]["error"]
        ),
    )
    text = " ".join(found.sentences)
    assert "At alpha 0.0500, 1 % of the size is worth 0.0005 nats per token" in text
    first = answer(content, "alpha=0")
    assert "may lie beyond it, and be larger" in " ".join(first.sentences)
    assert "costs +" in " ".join(first.sentences)
    assert "keeps it all" in " ".join(answer(content, "one_standard_error").sentences)
    length = " ".join(answer(content, "description_length").sentences)
    assert "Model file" in length
    assert "decides alone" in length
    with pytest.raises(NotFeasibleError):
        answer(content, "size_below=1")
    assert [name for name, _ in list_answers(content)] == [
        *("description_length", "one_standard_error", "knee")
    ]


@pytest.mark.slow
def test_fresh_models_stand_beside(config, trained, tmp_path):
    tuner = make(config, tmp_path / "t", compare="scratch")
    content = tuner.walk_folds()
    assert [*content["compared"]] == ["fresh, 4 bits", "fresh, 8 bits"]
    for curve in content["compared"].values():
        assert curve["points"]
        for point in curve["points"]:
            (own,) = (p for p in content["points"] if p["name"] == point["name"])
            more = point["error"] - own["error"]
            assert point["above_path"] == pytest.approx(more)
            # Both are measured on the same documents, of which they share the noise.
            half = point["high"] - point["error"]
            assert point["above_path_high"] - more < 0.1 * half
    assert make(config, tmp_path / "t").walk_folds() == content
    total = tuner.prepared.share.total
    for fresh in list_fresh(tuner.prepared, tmp_path / "t"):
        for k, shape in fresh.shapes.items():
            run = trained[fresh.name(1, k)]
            assert run.quantize.bits == (fresh.bits,)
            of_step = 3 * shape.flops * tuner.prepared.targets_per_step
            spent = run.train.num_steps * of_step
            assert spent == pytest.approx(total / POINTS, rel=0.02)
            size = tuner.prepared.blueprint.run.objective.size
            assert size == "bytes"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"points": 1}, r"--points=1 must be in \[2,"),
        ({"smallest": "0.1%"}, "must stay"),
        ({"sizes": "90%,90%"}, "Write each size once"),
        ({"sizes": "50%,60%"}, "Write each size once"),
        ({"sizes": "100%,200%"}, "Write each size once"),
        ({"sizes": "200%,100%"}, "outside the limits"),
        ({"sizes": "50%"}, "two sizes"),
        ({"sizes": "x,50%"}, "'x' is no size"),
        ({"cost": 0.01}, "The least cost that does"),
        ({"cost": math.nan}, "above 0"),
        ({"folds": 1, "rule": "one_standard_error"}, "no standard error"),
        ({"rule": "kneee"}, "Did you mean knee"),
        ({"smallest": "99.99%", "points": 10}, "twice: sizes have four digits"),
        ({"refit": "all"}, "--refit=all"),
        ({"compare": "fresh"}, "--compare=fresh"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(config, flags, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        make(config, tmp_path / "t", **flags)
    assert not (tmp_path / "t").exists()


def test_sizes_are_checked_as_they_are_used():
    request = Request(points=3, smallest="1234.5")
    with pytest.raises(ConfigError, match=r"1,234 bytes is outside .* 1,235 must stay"):
        choose_sizes(request, "bytes", 5000.0, 1234.2)
    named = Request(points=3, smallest="1235")
    assert choose_sizes(named, "bytes", 5000.0, 1234.2)[-1] == 1235.0


def test_a_rule_that_no_point_will_meet_is_refused_before_training(config, tmp_path):
    with pytest.raises(NotFeasibleError, match=r"size_below=9k: no point will be so"):
        make(config, tmp_path / "t", rule="size_below=9k")
    assert not (tmp_path / "t").exists()


def test_one_fold_of_nothing_is_refused_before_training(config, tmp_path):
    changed = override(config, [("data.valid_fraction", "0")])
    with pytest.raises(ConfigError, match=r"--folds=1 leaves nothing to compare"):
        make(changed, tmp_path / "t", folds=1)
    assert not (tmp_path / "t").exists()


def test_few_documents_and_pieces_of_one_file_are_warned_of(config, trained, tmp_path):
    lines = [" ".join(f"word{i * j % 97}" for j in range(1, 40)) for i in range(30)]
    (tmp_path / "few.txt").write_text("\n\n".join(lines))
    changed = override(config, [("data.source", f"text:{tmp_path}/few.txt")])
    tuner = make(changed, tmp_path / "t", cost=60.0)
    assert trained == {}
    few = [line for line in tuner.prepared.lines if line.startswith("Few documents")]
    assert len(few) == 1
    assert "With less than 20 in a fold" in few[0]
    (pieces,) = tuner.prepared.notes
    assert "pieces of 1 file:" in pieces
    source = config["data"]["source"].replace("part1", "")
    changed = override(config, [("data.source", source)])
    lines = make(changed, tmp_path / "m").prepared.lines
    assert not any("Few" in line for line in lines)


def test_folds_with_few_documents_are_in_the_report():
    curve = {"held_out": {"documents": [19, 20, 3]}}
    (note,) = _note_few(curve, "examples")
    assert note.startswith("Few examples to compare points on: fold 0 has 19, fold 2 h")
    assert _note_few({"held_out": {"documents": [20, 20]}}, "documents") == []


@pytest.mark.slow
def test_the_least_cost_that_is_named_does(config, trained, tmp_path):
    with pytest.raises(ConfigError) as found:
        make(config, tmp_path / "t", cost=0.01)
    least = float(str(found.value).rpartition("--cost=")[2].rstrip("."))
    make(config, tmp_path / "t", cost=least).walk_folds()
    assert trained


def test_settings_that_have_no_path_are_refused(config, tmp_path):
    for name, value, told in (
        ("train.continue_from", "runs/a", "starts from fresh weights"),
        ("objective.size", "latency", "what can be counted"),
        ("objective.size", "kv_bytes", r"may fall to 0.*min_kv_heads=1"),
    ):
        changed = override(config, [(name, value), ("quantize.bits", "[16]")])
        with pytest.raises(ConfigError, match=told):
            make(changed, tmp_path / "t")


def test_folders_of_others_are_refused(config, trained, tmp_path):
    make(config, tmp_path / "t").walk_folds()
    assert trained
    with pytest.raises(ConfigError, match=r"--folds=3, but the tune in .* has 2"):
        make(config, tmp_path / "t", folds=3)
    with pytest.raises(ConfigError, match=r"--sizes=.*, but the tune"):
        make(config, tmp_path / "t", points=3)
    changed = override(config, [("optim.learning_rate", "1e-2")])
    with pytest.raises(ConfigError, match=r"config.optim.learning_rate=0.01, but"):
        make(changed, tmp_path / "t")
    for name, what in (("sweep.json", "a sweep"), ("config.json", "a run")):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("{}")
        with pytest.raises(ConfigError, match=f"holds {what}"):
            make(config, folder)


def test_what_the_path_replaces_is_named_once(config, tmp_path):
    changed = override(config, [("objective.max_price_ratio", "3")])
    lines = make(changed, tmp_path / "t").prepared.lines
    named = [line for line in lines if "config.objective.budget='60%'" in line]
    assert len(named) == 1
    assert "config.resize.first_step=10" in named[0]
    assert "config.train.eval_every_steps=12" in named[0]
    assert "train.patience" not in named[0]
    assert "config.objective.max_price_ratio=3" in named[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            [("objective.strategy", "none"), ("objective.budget", "")],
            "config.objective.strategy='none'",
        ),
        ([("resize.max_seams", "8")], "config.resize.max_seams=8"),
        ([("optim.decay_fraction", "1.0")], "config.optim.decay_fraction=1.0"),
        (
            [("distill.teacher", "runs/t"), ("distill.decay_fraction", "0.5")],
            "config.distill.decay_fraction=0.5",
        ),
        (
            [("train.num_epochs", "2"), ("train.num_steps", "0")],
            "config.train.num_epochs=2",
        ),
    ],
)
def test_a_default_that_the_path_replaces_is_named_where_it_is_written(changes, told):
    plain = read_config("configs/tiny_test.py")
    assert told not in describe_own(make_run_config(plain), plain)
    given = override(plain, changes)
    assert told in describe_own(make_run_config(given), given)


def test_a_path_falls_in_a_line_whatever_the_decay_was():
    changes = [("optim.decay", "step"), ("optim.decay_rate", "0.3")]
    changes += [("optim.decay_every_steps", "5")]
    given = override(read_config("configs/tiny_test.py"), changes)
    recipe = make_recipe(given, make_run_config(given), (900.0, 500.0), 1000.0)
    for piece in (recipe.trunk(0, 0, 40, ""), recipe.decay(1, 50, 20, "b")):
        assert (piece.optim.decay, piece.optim.decay_every_steps) == ("linear", 0)


def test_what_only_budgets_have_is_not_asked_of_decays():
    changes = [("objective.division", "even"), ("objective.max_price_ratio", "2")]
    given = override(read_config("configs/tiny_test.py"), changes)
    recipe = make_recipe(given, make_run_config(given), (900.0, 500.0), 1000.0)
    piece, decay = recipe.trunk(1, 10, 40, "a"), recipe.decay(1, 50, 20, "b")
    assert (piece.objective.division, piece.objective.max_price_ratio) == ("even", 2)
    assert (decay.objective.division, decay.objective.max_price_ratio) == ("", 0)


def test_a_piece_that_fails_is_named(config, monkeypatch, tmp_path):
    def train(run, workdir, **options):
        del run, workdir, options
        raise NotFeasibleError("no room")

    monkeypatch.setattr(room, "train", train)
    with pytest.raises(NotFeasibleError, match="fold0/trunk/0: no room"):
        make(config, tmp_path / "t").walk_folds()
    assert not [*(tmp_path / "t" / "claims").rglob("*.json")]
