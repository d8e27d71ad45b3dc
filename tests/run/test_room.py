"""What cannot fit the memory is refused before anything is allocated."""

import math

import jax
import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.models.build import build_model
from slimjax.run import room
from slimjax.train.config import make_run_config


def check(*changes: tuple[str, str]) -> None:
    run = make_run_config(override(read_config("tiny_test"), changes))
    room.check_memory(run, build_model(run.model, 259))


def test_a_tiny_run_fits():
    check()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([("model.width", "1048576")], "config.model, config.data.vocab_size"),
        (
            [("model.mlp_dim", "1048576"), ("model.width", "65536")],
            "config.model, config.data.vocab_size",
        ),
        (
            [("data.batch_size", "1048576"), ("data.seq_len", "1048576")],
            "config.data.batch_size=1048576 x config.data.seq_len=1048576",
        ),
    ],
)
def test_what_is_too_large_is_named(monkeypatch, changes, told):
    monkeypatch.setattr(room, "device_bytes", lambda _: 1 << 33)  # 8 GiB.
    with pytest.raises(ConfigError, match=r"GB, and .* GB are free") as error:
        check(*changes)
    assert told in str(error.value)


def test_accumulation_makes_a_batch_fit(monkeypatch):
    monkeypatch.setattr(room, "device_bytes", lambda _: 1 << 20)
    large = [("data.batch_size", "512")]
    with pytest.raises(ConfigError, match="accumulation_steps"):
        check(*large)
    check(*large, ("optim.accumulation_steps", "16"))


def test_optimizers_without_moments_need_less(monkeypatch):
    run = make_run_config(read_config("tiny_test"))
    weights = jax.tree.leaves(build_model(run.model, 259).abstract_variables())
    number = sum(math.prod(leaf.shape) for leaf in weights)
    monkeypatch.setattr(room, "device_bytes", lambda _: 12 * number)
    check(("optim.name", "sgd"))
    with pytest.raises(ConfigError, match="free"):
        check(("optim.name", "adamw"))
