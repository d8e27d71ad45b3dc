"""The first signal asks a run to save, another one ends it, an echo does neither."""

import signal

import pytest

from slimjax.run import signals
from slimjax.run.signals import StopRequests


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Returns the time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(signals, "monotonic", lambda: now[0], raising=False)
    return now


def test_an_echo_of_sigterm_ends_nothing_and_a_later_one_does(clock):
    ended = []
    with StopRequests(ended.append) as stop:
        signal.raise_signal(signal.SIGTERM)
        clock[0] += 0.05
        signal.raise_signal(signal.SIGTERM)
        assert (stop.noticed, ended) == (signal.SIGTERM, [])
        clock[0] += signals.ECHO_SECONDS
        signal.raise_signal(signal.SIGTERM)
        assert ended == [signal.SIGTERM]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("first", signals.SIGNALS)
def test_a_second_interrupt_counts_however_soon_it_comes(first):
    ended = []
    with StopRequests(ended.append):
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
    assert ended == [signal.SIGINT]
