"""Progress: the step is always visible, and sizes are in the measure asked for."""

import io
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from slimjax.run import progress
from slimjax.run.facts import describe_size, describe_step
from slimjax.run.progress import Display

ENTRY = {
    "step": 120,
    "loss": 2.345,
    "valid_nats_per_token": 3.0,
    "valid_bits_per_byte": 1.432,
    "tokens_per_s": 5300.4,
}


class Named(NamedTuple):
    """A metric of a task."""

    key: str
    words: str


class Stream(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Returns a clock that moves by hand; ``clock.now`` is in seconds."""
    clock = SimpleNamespace(now=1000.0)
    stub = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", stub)
    return clock


def show_on_terminal(width: int, monkeypatch) -> str:
    """Returns the last line that a terminal of this width shows."""
    monkeypatch.setattr("sys.stderr", Stream())
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    with Display() as display:
        facts = describe_step(ENTRY, [describe_size("bytes", 12_300, 30_000)])
        display.step(98_765, 100_000, facts)
        assert display._bar is not None
        shown = display.console.render(display._bar.get_renderable())
        return "".join(segment.text for segment in shown)


@pytest.mark.parametrize("width", [24, 40, 60, 79, 110, 160])
def test_the_step_is_shown_whole_on_terminals_of_any_width(width, monkeypatch):
    shown = show_on_terminal(width, monkeypatch)
    (line,) = shown.splitlines()
    assert len(line) <= width
    assert line.startswith("training 98765/100000"[:width])
    assert ("loss 2.345" in line) == (width >= 40)
    assert ("12.3 kB (41 %)" in line) == (width >= 60)


def test_plain_lines_have_error_perplexity_size_speed_and_time_left(capsys, clock):
    with Display() as display:
        display.step(100, 400, ["loss 9.000"])
        clock.now += 40.0
        facts = describe_step(ENTRY, [describe_size("bytes", 12_300, 30_000)])
        display.step(120, 400, facts, always=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training 120/400  loss 2.345  9 min 20 s left  valid 1.432 bits per byte  "
        "12.3 kB (41 %)  perplexity 20.1  5,300 tokens/s"
    ]


def test_time_left_follows_the_last_calls_and_a_way_back(clock):
    display = Display(quiet=True)
    assert display._estimate_left(0, 100) is None
    clock.now += 1000.0  # Compiling.
    display._estimate_left(1, 100)
    for step in range(2, 20):
        clock.now += 2.0
        display._estimate_left(step, 100)
    clock.now += 2.0
    assert display._estimate_left(20, 100) == pytest.approx(2.0 * (100 - 20))
    assert display._estimate_left(5, 100) is None  # The run went back.
    clock.now += 10.0
    assert display._estimate_left(10, 100) == pytest.approx(180.0)
    assert display._estimate_left(100, 100) is None


def test_metrics_of_the_task_are_shown_by_their_words():
    metrics = [Named("accuracy", "accuracy"), Named("macro_f1", "macro F1")]
    entry = {"loss": 0.5, "valid_accuracy": 0.8125, "valid_macro_f1": None}
    facts = describe_step(entry, ["60 %"], metrics)
    assert facts == ["loss 0.500", "valid accuracy 0.812", "60 %"]
    metrics = [Named("bits_per_byte", "bits per byte"), Named("nats_per_token", "nats")]
    facts = describe_step(ENTRY, (), metrics)
    assert facts[1:3] == ["valid 1.432 bits per byte", "perplexity 20.1"]


def test_a_step_that_diverged_is_described_too():
    entry = {"loss": float("nan"), "valid_nats_per_token": 800.0, "tokens_per_s": None}
    assert describe_step(entry) == ["loss not finite"]


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        ("params", "14.2 k parameters (60 %)"),
        ("bytes", "14.2 kB (60 %)"),
        ("flops", "14.2 kFLOP per token (60 %)"),
        ("kv_bytes", "14.2 kB of KV cache per token (60 %)"),
    ],
)
def test_the_size_is_in_the_measure_that_is_asked_for(measure, text):
    assert describe_size(measure, 14_208, 23_808) == text


def test_latency_is_a_time():
    assert describe_size("latency", 0.0012, 0.0024) == "1.20 ms per token (50 %)"
