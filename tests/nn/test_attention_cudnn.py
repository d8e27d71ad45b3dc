"""What can be said of the GPU's kernel without a GPU."""

import types

import jax
import jax.numpy as jnp
import pytest
from attention_laws import as_kernel_takes_it, assert_laws, draw

from slimjax.errors import ConfigError
from slimjax.nn import platforms
from slimjax.nn.attention_cudnn import attend_cudnn, is_recent
from slimjax.nn.attention_kernels import attend, choose


def test_the_program_for_cuda_calls_cudnn(monkeypatch):
    from jax._src.cudnn import fused_attention_stablehlo as fused

    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    query, key = (jax.ShapeDtypeStruct((2, 64, n, 16), "float32") for n in (4, 2))

    def pull(query, key, value, slope):
        mixed, vjp = jax.vjp(attend_cudnn, query, key, value)
        return mixed, vjp(slope)

    traced = jax.jit(pull).trace(query, key, key, query)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmax(" in text
    assert "__cudnn$fmhaSoftmaxBackward(" in text
    assert "64x64" not in text


@pytest.mark.parametrize("options", [{"window": 6}, {"causal": False}])
def test_the_masks_that_cudnn_is_asked_for_are_ours(options, monkeypatch):
    plain = jax.nn.dot_product_attention

    def without_cudnn(*args, implementation, **options):
        assert implementation == "cudnn"
        return plain(*args, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)
    assert_laws(draw(2, 21, 21, 4, 2, 8), options, kernel=attend_cudnn)


@pytest.fixture
def on_a_gpu(monkeypatch):
    gpu = types.SimpleNamespace(compute_capability="9.0")
    monkeypatch.setattr(platforms, "target_platform", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])


@pytest.mark.usefixtures("on_a_gpu")
def test_a_gpu_takes_cudnn_where_it_can():
    shape = lambda length, head_dim: jnp.zeros((2, length, 4, head_dim))

    def pick(query, key=None, dtype=jnp.bfloat16, **more):
        mask, rest = as_kernel_takes_it(query, **more)
        key = query if key is None else key
        return choose(query, key, mask, dtype=dtype, **rest)

    assert pick(shape(391, 64)) == "cudnn"
    assert pick(shape(391, 64), window=5) == "cudnn"
    assert pick(shape(391, 64), dtype=jnp.float32) == "blocked"
    assert pick(shape(391, 60)) == "blocked"
    assert pick(shape(391, 64), causal=False) == "cudnn"
    assert pick(shape(391, 64), causal=False, window=5) == "blocked"
    assert pick(shape(391, 64), bias=jnp.zeros((1, 4, 391, 391))) == "blocked"
    assert pick(shape(391, 64), dropout=0.1, dropout_key=jax.random.key(0)) == "blocked"
    assert pick(shape(391, 136)) == "blocked"
    assert pick(shape(200, 64), shape(391, 64)) == "blocked"
    segments = jnp.ones((2, 391), jnp.int32)
    both = dict(query_segments=segments, key_segments=segments)
    assert pick(shape(391, 64), **both) == "blocked"


@pytest.mark.usefixtures("on_a_gpu")
def test_what_the_kernel_does_not_take_is_refused():
    query, key, value, _ = draw(1, 20, 20, 2, 1, 8)
    with pytest.raises(ConfigError, match=r"dtype='bfloat16', not 'float32'"):
        attend(query, key, value, impl="cudnn", dtype=jnp.float32)


def test_what_no_gpu_runs_is_refused():
    query, key, value, _ = draw(1, 20, 20, 2, 1, 8)
    with pytest.raises(ConfigError, match="attention_impl='cudnn' wants a GPU") as e:
        attend(query, key, value, impl="cudnn", dtype=jnp.bfloat16)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("capability", "recent"), [("7.5", False), ("8.0", True), ("gfx90a", False)]
)
def test_old_gpus_and_those_of_others_are_known(capability, recent):
    assert is_recent(types.SimpleNamespace(compute_capability=capability)) is recent
