"""What the loop saves, and when."""

from types import SimpleNamespace

import pytest

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
