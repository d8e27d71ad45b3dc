"""Steps whose profile is written, and ranges that are none."""

import jax
import jax.numpy as jnp
import pytest

from slimjax.errors import ConfigError
from slimjax.run.profiling import Profiling
from slimjax.train.train_config import TrainConfig


def test_the_steps_that_are_asked_for_are_traced(tmp_path, monkeypatch):
    calls = []
    begin = lambda folder: calls.append(("begin", folder))
    monkeypatch.setattr(jax.profiler, "start_trace", begin)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("end"))
    profiling, state = Profiling(range(2, 4), tmp_path), jnp.ones(3)
    for step in range(6):
        calls.append(step)
        profiling.pass_boundary(step, state)
    profiling.end()
    assert calls == [0, 1, 2, ("begin", tmp_path), 3, 4, "end", 5]


def test_a_run_that_ends_before_the_last_of_them_writes_what_there_is(tmp_path):
    profiling = Profiling(range(1, 9), tmp_path)
    profiling.pass_boundary(1, jnp.ones(3))
    jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(3)))
    profiling.end()
    assert list(tmp_path.rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["20", "a:b", "5:5", "9:3", ":", "-1:4"])
def test_what_is_no_range_of_steps_is_refused_in_one_line(steps):
    with pytest.raises(ConfigError, match="must be a range of steps") as error:
        TrainConfig(profile_steps=steps)
    assert "\n" not in str(error.value)
