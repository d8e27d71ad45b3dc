"""What k + 1 outcomes tell of a teacher, and that the whole is their limit."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distill.close import assert_close
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params

from slimjax.distill.config import DistillConfig
from slimjax.distill.divergence import distilled_sums
from slimjax.distill.error import make_distilled_error_fn
from slimjax.distill.outcomes import (
    LOG_TYPE,
    Outcomes,
    find_outcomes,
    make_outcomes_fn,
)
from slimjax.models.build import build_model
from slimjax.models.settings import ModelSettings
from slimjax.nn.readout import Readout
from slimjax.tasks.lm import make_task

V, WEIGHT = 11, 0.3


def draw_inputs(seed: int):
    """Returns student [B=2 T=7 D=4 V], teacher's logits, targets and a mask."""
    draw = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(draw.normal(size=shape), jnp.float32)
    targets = jnp.asarray(draw.integers(0, V, (2, 7)))
    mask = jnp.ones((2, 7)).at[1, 5:].set(0.0)
    return Readout(normal(2, 7, 4), normal(V, 4)), normal(2, 7, V), targets, mask


find = jax.jit(find_outcomes, static_argnums=1)


def outcomes_of(taught: jax.Array, top_k: int) -> Outcomes:
    found = find(taught.reshape(-1, V), top_k)
    return jax.tree.map(lambda x: x.reshape(*taught.shape[:2], -1), found)


def plain_sums(student, outcomes, targets, mask, temperature):
    """The formula, with all logits at once and autodiff's gradient."""
    logits = student.x @ student.table.T
    in_top = jnp.any(jax.nn.one_hot(outcomes.ids, V, dtype=bool), axis=-2)
    rest = jnp.log(jnp.sum(jnp.where(in_top, 0.0, jnp.exp(logits)), -1, keepdims=True))
    top = jnp.take_along_axis(logits, outcomes.ids, -1)
    log_u = jax.nn.log_softmax(jnp.concatenate([top, rest], -1) / temperature)
    logs = outcomes.logs.astype(jnp.float32)
    log_t = jax.nn.log_softmax(logs / temperature)
    away = jnp.sum(jnp.exp(log_t) * (log_t - log_u), -1)
    log_p = jax.nn.log_softmax(logits)
    nats = -jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    mixed = (1 - WEIGHT) * nats + WEIGHT * temperature**2 * away
    return tuple(jnp.sum(mask * x) for x in (mixed, nats, away))


@functools.cache
def sums_and_slopes(temperature: float):
    """Returns compiled functions of (student, outcomes, targets, mask)."""
    options = dict(temperature=temperature, block_tokens=6)
    blocked = lambda *inputs: distilled_sums(*inputs, WEIGHT, **options)
    plain = lambda *inputs: plain_sums(*inputs, temperature)
    slope = lambda f: jax.grad(lambda *inputs: 3 * f(*inputs)[0])
    return [jax.jit(lambda *x, f=f: (f(*x), slope(f)(*x))) for f in (blocked, plain)]


@given(
    seed=st.integers(0, 99),
    top_k=st.sampled_from([1, 3]),
    temperature=st.sampled_from([1.0, 2.5]),
)
def test_sums_and_gradient_are_those_of_the_formula(seed, top_k, temperature):
    student, taught, *rest = draw_inputs(seed)
    inputs = student, outcomes_of(taught, top_k), *rest
    actual, expected = (f(*inputs) for f in sums_and_slopes(temperature))
    assert_close(actual, expected, atol=5e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_all_tokens_as_outcomes_are_the_whole_distribution(temperature):
    student, taught, *rest = draw_inputs(0)
    heard = outcomes_of(taught, V)
    exact = jnp.zeros_like(taught)  # What is left after rounding to float16.
    rows = np.indices(heard.ids.shape)
    exact = exact.at[rows[0], rows[1], heard.ids].set(heard.logs[..., :-1])
    # A teacher whose logits are its activations, times a table that changes nothing.
    teacher = Readout(exact, jnp.eye(V))
    error = lambda teacher: (
        lambda student: distilled_sums(
            student, teacher, *rest, WEIGHT, temperature=temperature
        )[0]
    )
    values = [jax.value_and_grad(error(who))(student) for who in (heard, teacher)]
    assert_close(*values, atol=5e-6)


def test_fewer_outcomes_tell_less():
    student, taught, *rest = draw_inputs(1)
    divergence = lambda k: distilled_sums(student, outcomes_of(taught, k), *rest, 1.0)
    found = [float(divergence(k)[2]) for k in (1, 2, 5, V)]
    assert 0 <= found[0] < found[1] < found[2] < found[3]


@given(seed=st.integers(0, 99), top_k=st.sampled_from([1, 3, V]))
def test_outcomes_are_the_most_probable_tokens_and_add_up(seed, top_k):
    logits = 3 * draw_inputs(seed)[1].reshape(-1, V)
    ids, logs = map(np.asarray, find(logits, top_k))
    assert logs.dtype == LOG_TYPE
    exact = np.asarray(jax.nn.log_softmax(logits))
    np.testing.assert_array_equal(ids, np.argsort(-exact, axis=1)[:, :top_k])
    told = np.take_along_axis(exact, ids, axis=1)
    np.testing.assert_allclose(logs[:, :-1], told, rtol=2**-11)  # Rounding to float16.
    total = np.exp(logs.astype(np.float32)).sum(1)
    np.testing.assert_allclose(total, 1.0, atol=4e-3)


def test_a_teacher_who_is_sure_and_a_student_too_leave_no_nan():
    sure = 200.0 * jnp.eye(V)[None]  # Nothing is left for all other tokens.
    student = Readout(sure, jnp.eye(V))
    targets, mask = jnp.arange(V)[None], jnp.ones((1, V))
    error = lambda student, k: distilled_sums(
        student, outcomes_of(sure, k), targets, mask, 1.0
    )[0]
    for top_k in (1, V):
        value, slope = jax.value_and_grad(error)(student, top_k)
        assert float(value) == pytest.approx(0.0, abs=1e-6)
        assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(slope))


def test_logits_are_never_there_for_all_tokens():
    settings = ModelSettings(
        width=8, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=8, mlp_dim=6
    )
    model = build_model(settings, 700)
    tokens = jnp.zeros((4, 512), jnp.int32)
    batch = {"tokens": tokens}
    shapes = nn.meta.unbox(model.abstract_variables())
    task = make_task({"pad": 0, "bos": 1})
    ask = make_outcomes_fn(task, model, 3)
    heard = jax.eval_shape(ask, shapes, batch)
    config = DistillConfig(teacher="runs/a", top_k=3)
    error_fn = make_distilled_error_fn(task, model, model, config)
    error = lambda variables, batch: error_fn(variables, batch, {}, jnp.ones(()))[0]
    taught = {**batch, **heard._asdict()}
    for fn, inputs in ((ask, batch), (jax.grad(error), taught)):
        jaxpr = jax.make_jaxpr(fn)(shapes, inputs)
        largest = max(math.prod(shape) for shape in shapes_in(jaxpr.jaxpr))
        assert 512 * 700 <= largest < tokens.size * 700


def shapes_in(jaxpr):
    """Yields the shapes of all that a program computes, loops and calls included."""
    for equation in jaxpr.eqns:
        yield from (getattr(var.aval, "shape", ()) for var in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from shapes_in(inner)
