"""What the loop saves, and when."""

import signal
from types import SimpleNamespace

import pytest

from slimjax.errors import StoppedError
from slimjax.run import loop
from slimjax.run.loop import Loop
from slimjax.train.history import History


class Recorder:
    """Keeps the names of what is called, and what is known at each save."""

    def __init__(self):
        """Knows a validation of step 12."""
        self.valid_error, self.calls = (12, 0.5), []

    def save(self, *_) -> None:
        """Keeps the validation that the checkpoint would have."""
        self.calls.append(self.valid_error)

    def finish(self) -> str:
        """Has nothing to wait for."""
        return ""

    def write_architecture(self, blueprint) -> None:
        """Writes nothing."""


class LateSignal:
    """A signal that comes after the first look at a boundary."""

    looks = 0

    @property
    def received(self) -> signal.Signals | None:
        """Nothing, then the signal."""
        self.looks += 1
        return signal.SIGTERM if self.looks > 1 else None


def bare_loop(**parts) -> Loop:
    bare = Loop.__new__(Loop)
    train = SimpleNamespace(
        on_bad_step="stop",
        num_steps=20,
        patience=0,
        save_every_steps=0,
        eval_every_steps=0,
    )
    bare.run = SimpleNamespace(train=train, seam_steps=(), distill=None)
    bare.step = bare.resumed_step = 12
    bare.saver, bare.history = Recorder(), History()
    bare.stage = bare.state = bare.folder = None
    vars(bare).update(parts)
    return bare


@pytest.mark.parametrize("taken", [True, False])
def test_a_cut_model_does_not_have_the_error_of_the_model_before(monkeypatch, taken):
    record = SimpleNamespace(
        taken=taken,
        flops_spent=0.0,
        alpha=None,
        alphas={},
        next_calibration=1.0,
        predicted_loss_change=0.0,
        true_loss_change=0.0,
        as_dict=dict,
        describe=str,
    )
    stage = SimpleNamespace(
        deterministic=lambda state: state,
        taught_by=lambda _: stage,
        blueprint=None,
    )
    monkeypatch.setattr(loop, "take_seam", lambda *_: (stage, None, record))
    monkeypatch.setattr(loop, "keep_start", lambda *_: None)
    monkeypatch.setattr(loop, "record_of", lambda *_: SimpleNamespace())
    folder = SimpleNamespace(seams=[])
    display = SimpleNamespace(say=lambda _: None)
    one = bare_loop(stage=stage, folder=folder, display=display)
    one._pass_seam()
    assert one.saver.calls == [(12, 0.5), None if taken else (12, 0.5)]


def test_a_step_is_read_before_a_late_signal_saves_it():
    order = []
    profiling = SimpleNamespace(pass_boundary=lambda *_: None)
    one = bare_loop(stop=LateSignal(), profiling=profiling)
    one._round_weights = lambda: None
    one.saver.notice = lambda: None
    one.save = lambda: order.append("save")
    one._read = lambda pending: order.append(pending) if pending else None
    one._take_step = lambda _: "the step"
    one.stop.looks = -2  # Two looks at the first boundary, one more at the next.
    with pytest.raises(StoppedError):
        one._take_steps()
    assert order == ["the step", "save"]
