"""Learning a choice among positions from a teacher: the formula, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.distill.positions import position_sums
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Targets

OPEN = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 1]], bool)
TARGET = Targets(jnp.array([2, 1, 0]), jnp.array([1.0, 1.0, 0.0]), jnp.asarray(OPEN))
WEIGHT, HEAT = 0.3, 2.0


def draw(seed):
    source = np.random.default_rng(seed)
    x = source.standard_normal((3, 4, 5)).astype("f4")
    return Readout(jnp.array(x), jnp.array(source.standard_normal((1, 5)), "f4"))


def test_sums_are_those_of_the_formula_over_open_positions():
    own, other = draw(0), draw(1)
    total, nats, away = 0.0, 0.0, 0.0
    for row in range(2):  # The third one is no target.
        z, t = (np.asarray(r.x[row] @ r.table[0])[OPEN[row]] for r in (own, other))
        place = int(OPEN[row][: TARGET.values[row]].sum())
        soft = lambda v: np.exp(v) / np.exp(v).sum()
        q, p = soft(z / HEAT), soft(t / HEAT)
        nats -= np.log(soft(z)[place])
        away += np.sum(p * np.log(p / q))
    total = (1 - WEIGHT) * nats + WEIGHT * HEAT**2 * away
    found = position_sums(own, other, TARGET, WEIGHT, temperature=HEAT)
    np.testing.assert_allclose(found, [total, nats, away], rtol=1e-5)


@pytest.mark.parametrize(("which", "is_zero"), [(0, False), (1, True)])
def test_only_the_student_has_a_gradient_and_it_is_finite(which, is_zero):
    pair = [draw(0), draw(1)]

    def error(x):
        changed = [*pair]
        changed[which] = Readout(x, pair[which].table)
        return position_sums(*changed, TARGET, WEIGHT)[0]

    slope = jax.grad(error)(pair[which].x)
    assert np.isfinite(slope).all()
    assert bool((slope == 0).all()) == is_zero
    assert (slope[2] == 0).all()
