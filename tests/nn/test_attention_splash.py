"""What the TPU's kernel promises, step by step on a CPU and compiled for a TPU."""

import importlib.util
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from attention_laws import as_kernel_takes_it, assert_laws, draw, segments_of

from slimjax.errors import ConfigError
from slimjax.nn import platforms
from slimjax.nn.attention_kernels import attend, choose
from slimjax.nn.attention_splash import attend_splash

INTERPRETED = partial(attend_splash, interpret=True)


def test_splash_is_exact():
    assert_laws(draw(1, 256, 256, 2, 1, 8), {}, kernel=INTERPRETED, rough=True)


def test_splash_is_exact_with_a_window_and_segments():
    segments = segments_of(2, 128)
    options = dict(window=33, query_segments=segments, key_segments=segments)
    assert_laws(draw(2, 128, 128, 2, 2, 8), options, kernel=INTERPRETED)


def test_splash_is_exact_with_a_window_on_both_sides():
    options = {"causal": False, "window": 33, "scale": 0.7}
    assert_laws(draw(1, 128, 128, 2, 1, 8), options, kernel=INTERPRETED)


def test_splash_is_exact_without_a_causal_mask():
    arrays = draw(1, 128, 256, 1, 1, 8)
    assert_laws(arrays, {"causal": False}, kernel=INTERPRETED)


@pytest.fixture
def on_one_tpu(monkeypatch):
    monkeypatch.setattr(platforms, "target_platform", lambda: "tpu")
    monkeypatch.setattr(jax, "device_count", lambda: 1)


@pytest.mark.usefixtures("on_one_tpu")
def test_a_tpu_takes_splash_where_the_shapes_allow():
    shape = lambda length, head_dim: jnp.zeros((2, length, 4, head_dim))

    def pick(query, key=None, dtype=jnp.bfloat16, **more):
        mask, rest = as_kernel_takes_it(query, **more)
        key = query if key is None else key
        return choose(query, key, mask, dtype=dtype, **rest)

    assert pick(shape(384, 64)) == "splash"
    assert pick(shape(384, 64), dtype=jnp.float32, window=5) == "splash"
    segments = jnp.ones((2, 384), jnp.int32)
    both = dict(query_segments=segments, key_segments=segments)
    assert pick(shape(384, 64), **both) == "splash"
    assert pick(shape(384, 64), **(both | {"key_segments": segments + 1})) == "blocked"
    assert pick(shape(384, 60)) == "blocked"
    assert pick(shape(390, 64)) == "blocked"
    assert pick(shape(384, 64), causal=False, window=5) == "splash"
    assert pick(shape(384, 64), bias=jnp.zeros((1, 4, 384, 384))) == "blocked"
    assert pick(shape(384, 64), dropout=0.1, dropout_key=jax.random.key(0)) == "blocked"
    assert pick(shape(256, 64), shape(384, 64)) == "blocked"
    assert pick(shape(384, 64), query_positions=segments) == "blocked"


def test_what_no_tpu_runs_is_refused():
    query, key, value, _ = draw(1, 128, 128, 2, 1, 8)
    with pytest.raises(ConfigError, match="attention_impl='splash' wants a TPU") as e:
        attend(query, key, value, impl="splash")
    assert "for a cpu" in str(e.value)
    assert "\n" not in str(e.value)


COMPILE = """
import os, sys
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from slimjax.nn.attention_kernels import attend

topology = topologies.get_topology_desc("v5e:2x2", "tpu")
sizes = [int(size) for size in sys.argv[1:]]
mesh = Mesh(np.array(topology.devices).reshape(sizes), ("data", "model", "context"))
share = NamedSharding(mesh, P("data", "context", "model"))

def pull(query, key, value, slope):
    mix = lambda *x: attend(*x, dtype=jnp.bfloat16)
    out, vjp = jax.vjp(mix, query, key, value)
    return [x.sum() for x in (out, *vjp(slope))]  # Else results hide the temporaries.

for length in (4096, 8192):
    shape = lambda n: jax.ShapeDtypeStruct((64, length, n, 64), "f4", sharding=share)
    with jax.set_mesh(mesh):
        lowered = jax.jit(pull).lower(shape(4), shape(2), shape(2), shape(4))
    compiled = lowered.compile()
    text = compiled.as_text()
    assert "tpu_custom_call" in text
    assert f"{length},{length}]" not in text
    assert ("all-gather" in text) == ("reduce-scatter" in text) == (sizes[2] > 1)
    print(compiled.memory_analysis().temp_size_in_bytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sizes", ["4 1 1", "1 2 2"])
def test_compiled_for_four_tpus_its_memory_is_linear_in_length(sizes):
    """In a process of its own, since libtpu wants to be told early of no TPU."""
    if not importlib.util.find_spec("libtpu") and "TPU_LIBRARY_PATH" not in os.environ:
        pytest.skip("libtpu is not installed: pip install 'libtpu==0.0.42.*'")
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    env |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}  # Nobody holds a TPU here.
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, *sizes.split()],
        **dict(capture_output=True, text=True, env=env, check=False),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    short, long = map(int, done.stdout.split())
    assert long / short < 2.1
    assert short > 0
