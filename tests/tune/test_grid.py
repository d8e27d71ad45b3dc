"""A grid is read as it was meant, or refused in one line."""

import pytest

from slimjax.errors import ConfigError
from slimjax.tune.grid import Axis, multiply, parse_axis

READ = [
    ("a.b=1", ("1",)),
    ("a.b=exchange,size_decay", ("exchange", "size_decay")),
    ("a.b=25e3,2M,40%", ("25e3", "2M", "40%")),
    ("a.b=[1,2],[3]", ("[1,2]", "[3]")),
    ('a.b={"x": [1, 2], "y": "p,q"},{}', ('{"x": [1, 2], "y": "p,q"}', "{}")),
    ('a.b="x,y", "z"', ('"x,y"', '"z"')),
    ('a.b="",1', ('""', "1")),
    ("a.b=text:a/*.txt,x=y", ("text:a/*.txt", "x=y")),
]


@pytest.mark.parametrize(("text", "words"), READ)
def test_a_comma_parts_values_but_not_within_json(text, words):
    assert parse_axis(text) == Axis("a.b", words)


REFUSED = [
    ("a.b", "must be SETTING=VALUE"),
    ("=1,2", "must be SETTING=VALUE"),
    ("a..b=1", "must be SETTING=VALUE,VALUE, such as objective.budget=30%,50%"),
    ("a.b=", "empty value"),
    ("a.b=1,,2", "empty value"),
    ("a.b=1,2,", "empty value"),
    ("a.b=[1,2", "is no JSON"),
    ("a.b=[1]2,3", "a comma must follow"),
    ("a.b=1,1", "1 and 1 are the same value"),
    ("a.b=25e3,25000", "25e3 and 25000 are the same value"),
    ("seed=1,2", "use --seeds"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_a_grid_that_cannot_be_meant_is_refused(text, told):
    with pytest.raises(ConfigError) as caught:
        parse_axis(text)
    assert told in str(caught.value)
    assert f"--grid={text}" in str(caught.value)


def test_the_arms_are_all_combinations_the_last_axis_fastest():
    pairs = list(multiply([Axis("a", ("1", "2")), Axis("b", ("x", "y", "z"))]))
    assert pairs[:2] == [(("a", "1"), ("b", "x")), (("a", "1"), ("b", "y"))]
    assert len(set(pairs)) == len(pairs) == 6
    assert list(multiply([])) == [()]


def test_a_setting_varies_once():
    with pytest.raises(ConfigError, match="stands twice"):
        list(multiply([Axis("a.b", ("1",)), Axis("a.b", ("2",))]))
