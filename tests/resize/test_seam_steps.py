"""A run that would have no seam is told which setting gives it one."""

import re

import pytest

from slimjax.errors import ConfigError
from slimjax.train.config import make_run_config


def make_run(train: dict[str, int], **resize: int):
    objective = dict(strategy="exchange", budget="50%")
    return make_run_config(dict(objective=objective, resize=resize, train=train))


@pytest.mark.parametrize(
    ("resize", "setting"),
    [
        ({}, "every_steps"),
        (dict(first_step=5), "every_steps"),
        (dict(every_steps=20), "every_steps"),
        (dict(first_step=20, every_steps=5), "first_step"),
        (dict(every_steps=5, max_seams=0), "max_seams"),
    ],
    ids=str,
)
def test_the_advice_for_a_run_without_seams_helps(resize, setting):
    train = dict(num_steps=20)
    with pytest.raises(ConfigError, match="needs a seam") as caught:
        make_run(train, **resize)
    advice = str(caught.value).rpartition(": ")[2]
    assert re.findall(r"config\.resize\.(\w+)", advice) == [setting]
    assert make_run(train, **{**resize, setting: 5}).seam_steps


def test_steps_that_are_not_known_yet_are_no_bound():
    with pytest.raises(ConfigError, match=r"every_steps to 1 or more\.$"):
        make_run(dict(num_steps=0, num_epochs=3))
