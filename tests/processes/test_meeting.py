"""Processes that wait for each other."""

import pytest

from slimjax.errors import ConfigError, ProcessError
from slimjax.processes import meeting, world


@pytest.fixture
def _others_are_late(monkeypatch):
    def wait(name, *_):
        raise ProcessError(f"Process 1 did not come to {name}.")

    monkeypatch.setattr(world, "count", lambda: 2)
    monkeypatch.setattr(meeting, "exchange", wait)


@pytest.mark.usefixtures("_others_are_late")
def test_an_own_mistake_is_told_even_if_the_others_do_not_come():
    with pytest.raises(ConfigError, match="mine"), meeting.together("a check"):
        raise ConfigError("mine")


@pytest.mark.usefixtures("_others_are_late")
def test_without_a_mistake_the_late_ones_are_named():
    late = pytest.raises(ProcessError, match="Process 1 did not come to a check")
    with late, meeting.together("a check"):
        pass
