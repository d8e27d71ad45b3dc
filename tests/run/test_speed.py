"""How speeds are compared: in turns, so that a busy machine slows both."""

import time

import numpy as np
import pytest

from slimjax.run import speed
from slimjax.run.speed import ROUNDS, time_in_turns
from slimjax.train.history import History


def test_a_step_of_half_the_time_is_twice_as_fast(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 1.5)
    ratios = time_in_turns(lambda: time.sleep(0.02), lambda: time.sleep(0.01))
    assert ROUNDS[0] <= len(ratios) <= ROUNDS[1]
    assert 1.5 < np.median(ratios) < 2.2


def test_a_machine_that_gets_slower_does_not_change_the_ratio(monkeypatch):
    pauses = {"first": 0.01, "last": 0.01}

    def step(name: str) -> None:
        time.sleep(pauses[name])
        pauses.update({key: pause * 1.001 for key, pause in pauses.items()})

    monkeypatch.setattr(speed, "SECONDS", 1.5)
    ratios = time_in_turns(lambda: step("first"), lambda: step("last"))
    assert 0.7 < np.median(ratios) < 1.3


@pytest.mark.wrong_types  # Nothing of the stage is read.
def test_a_machine_without_room_for_two_models_reports_no_speed(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(speed, "_compare", fail)
    history = History(stages=[None, None])
    assert speed.compare_speed(None, history, None) is None
