"""Every arm has a config of its own and a folder of its own, checked beforehand."""

import json

import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError, DataError
from slimjax.tune.arms import check_arm, list_seeds, make_arms
from slimjax.tune.grid import parse_axis

TINY = read_config("configs/tiny_test.py")


def arms_of(*grids: str) -> list:
    return make_arms(TINY, [parse_axis(text) for text in grids])


def test_arms_are_named_after_what_tells_them_apart():
    arms = arms_of("objective.strategy=exchange,size_penalty", "objective.budget=50%")
    assert [arm.name for arm in arms] == [
        "strategy=exchange,budget=50%",
        "strategy=size_penalty,budget=50%",
    ]
    trial = arms[1].trial(7)
    assert trial.name == "strategy=size_penalty,budget=50%-seed7"
    assert trial.run.seed == 7
    assert trial.run.objective.strategy == "size_penalty"
    assert TINY["objective"]["strategy"] == "exchange"
    assert arms_of()[0].trial(0).name == "base-seed0"


def test_names_are_names_of_folders_and_all_different():
    grids = ['data.source="text:a/*","text:a-*"', f"task={'x' * 300},{'x' * 301}"]
    names = [arm.name for arm in arms_of(*grids)]
    assert len(set(names)) == 4
    assert all(len(name) <= 100 and "/" not in name for name in names)
    longer = [arm.name for arm in arms_of("data.source=text:b/*", *grids[1:])]
    assert not set(names) & set(longer)
    with pytest.raises(ConfigError, match="two arms that are called width=1"):
        arms_of('model.width=1,"1"')
    same_end = arms_of("model.width=32", "other.width=1")
    assert same_end[0].name == "model.width=32,other.width=1"


def test_settings_of_one_block_may_vary_together():
    dense, slim = arms_of(
        'objective={"strategy": "none", "budget": ""},{"budget": "50%"}'
    )
    assert [dense.name, slim.name] == ["strategy=none,budget=", "budget=50%"]
    assert dense.changes == {"objective.strategy": "none", "objective.budget": ""}
    assert dense.trial(0).run.objective.size == "params"
    assert slim.trial(0).run.objective.strategy == "exchange"


def test_seeds_are_counted_up_from_that_of_the_config():
    assert list_seeds({"seed": 4}, 3) == (4, 5, 6)
    for config, num_seeds in (({"seed": "x"}, 1), ({}, 0)):
        with pytest.raises(ConfigError):
            list_seeds(config, num_seeds)


def test_a_wrong_arm_is_named(tmp_path, text_folder):
    source = f"data.source=text:{text_folder}/*.txt"
    good, bad = arms_of("objective.budget=60%,1e9", source, "mesh.data=1")
    check_arm(good, [0, 1], tmp_path)
    with pytest.raises(ConfigError, match=r"^arm budget=1e9,.*more than the model has"):
        check_arm(bad, [0], tmp_path)
    (lost,) = arms_of("data.source=text:/nowhere/*.txt", "mesh.data=1")
    with pytest.raises(DataError, match=r"^arm source=text-nowhere.*: .*/nowhere"):
        check_arm(lost, [0], None)
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_config_is_refused(tmp_path, text_folder):
    source = f"data.source=text:{text_folder}/*.txt"
    (arm,) = arms_of("objective.budget=60%", source, "mesh.data=1")
    trial = arm.trial(1)
    (tmp_path / trial.name).mkdir()
    other = override(trial.run.as_dict(), [("train.num_steps", "99")])
    (tmp_path / trial.name / "config.json").write_text(json.dumps(other))
    check_arm(arm, [0], tmp_path)
    check_arm(arm, [0, 1], None)
    with pytest.raises(ConfigError, match=r"the run in this folder has 99"):
        check_arm(arm, [0, 1], tmp_path)
