"""What the teacher's error is, block by block, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distill.close import assert_close

from slimjax.distill.divergence import distilled_sums
from slimjax.nn.readout import Readout

WEIGHT, TEMPERATURE = 0.3, 2.5


@pytest.fixture(scope="module")
def inputs():
    """Returns student [B=2 T=7 D=4 V=11], teacher (D=6), targets and a mask."""
    draw = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(draw.normal(size=shape), jnp.float32)
    student = Readout(normal(2, 7, 4), normal(11, 4))
    teacher = Readout(normal(2, 7, 6), normal(11, 6))
    targets = jnp.asarray(draw.integers(0, 11, (2, 7)))
    return student, teacher, targets, jnp.ones((2, 7)).at[1, 5:].set(0.0)


def plain_sums(student, teacher, targets, mask):
    """The formula, with all logits at once."""
    logits, taught = (out.x @ out.table.T for out in (student, teacher))
    p = jax.nn.softmax(taught / TEMPERATURE)
    log_q = jax.nn.log_softmax(logits / TEMPERATURE)
    divergence = jnp.sum(p * (jnp.log(p) - log_q), -1)
    log_p = jax.nn.log_softmax(logits)
    nats = -jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    mixed = (1 - WEIGHT) * nats + WEIGHT * TEMPERATURE**2 * divergence
    return tuple(jnp.sum(mask * x) for x in (mixed, nats, divergence))


@pytest.mark.parametrize("block_tokens", [1, 6, 512])
def test_sums_and_gradient_are_those_of_the_plain_formula(inputs, block_tokens):
    def blocked(student, *rest):
        options = dict(temperature=TEMPERATURE, block_tokens=block_tokens)
        return distilled_sums(student, *rest, WEIGHT, **options)

    slope = lambda f: jax.grad(lambda student: 3 * f(student, *inputs[1:])[0])
    assert_close(blocked(*inputs), plain_sums(*inputs), atol=2e-6)
    slopes = (slope(f)(inputs[0]) for f in (blocked, plain_sums))
    assert_close(*slopes, atol=2e-6)


def test_who_is_his_own_teacher_learns_nothing_from_him(inputs):
    student, _, targets, mask = inputs
    error = lambda student, teacher: distilled_sums(
        student, jax.lax.stop_gradient(teacher), targets, mask, 1.0
    )[0]
    value, slope = jax.value_and_grad(error)(student, student)
    assert float(value) == pytest.approx(0.0, abs=1e-5)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slope))


def test_only_the_mixed_error_has_a_gradient(inputs):
    student, *rest = inputs
    others = lambda student: sum(distilled_sums(student, *rest, WEIGHT)[1:])
    slope = jax.grad(others)(student)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slope))
