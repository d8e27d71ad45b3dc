"""Two models that learn together: the formula, and who gets which gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.distill.config import DistillConfig
from slimjax.distill.peer import PEER, init_peer, peer_names, peer_variables
from slimjax.distill.together import make_mutual_error_fn
from slimjax.errors import ConfigError
from slimjax.models import recipes
from slimjax.models.head import HeadConfig
from slimjax.tasks import classification
from slimjax.train.state import init_params

HEADS = (HeadConfig("label", 3, at="first", bias=True),)
STUDENT = recipes.mlp(4, 5, heads=HEADS)
OTHER = recipes.mlp(4, 8, heads=HEADS)
WEIGHT, HEAT = 0.6, 2.0
TASK = classification.make_task({})


@pytest.fixture(scope="module")
def batch():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((6, 4)).astype("f4")
    return {"features": jnp.asarray(features), "label": jnp.array([0, 1, 2, 1, 0, -1])}


@pytest.fixture(scope="module")
def variables():
    both = {**init_params(STUDENT, seed=3), PEER: init_peer(OTHER, seed=3)}
    return jax.tree.map(lambda leaf: 3 * leaf, both)  # So that they are apart.


def mutual(variables, batch, weight=WEIGHT):
    config = DistillConfig("together", weight=weight, temperature=HEAT)
    error_fn = make_mutual_error_fn(TASK, STUDENT, OTHER, config)
    return error_fn(variables, batch, jnp.float32(1.0))


def logits_of(variables, batch):
    inputs = {"features": batch["features"]}
    own = {kind: variables[kind] for kind in ("params", "gates")}
    one = STUDENT.module().apply(own, inputs)["label"].logits()
    other = OTHER.module().apply(peer_variables(OTHER, variables[PEER]), inputs)
    return one, other["label"].logits()


def error_of(own, other, labels):
    """Returns the textbook's mean error of one model; the last row is no target."""
    own, other, labels = own[:-1], jax.lax.stop_gradient(other[:-1]), labels[:-1]
    nats = -jnp.take_along_axis(jax.nn.log_softmax(own), labels[:, None], 1)[:, 0]
    log_q, log_t = jax.nn.log_softmax(own / HEAT), jax.nn.log_softmax(other / HEAT)
    away = jnp.sum(jnp.exp(log_t) * (log_t - log_q), axis=-1)
    return jnp.mean(nats + WEIGHT * HEAT**2 * away), jnp.sum(nats)


def test_the_error_is_the_sum_of_both_and_each_has_its_own_gradient(variables, batch):
    own_error = lambda v: error_of(*logits_of(v, batch), batch["label"])[0]
    peer_error = lambda v: error_of(*logits_of(v, batch)[::-1], batch["label"])[0]
    error, sums = mutual(variables, batch)
    expected = own_error(variables) + peer_error(variables)
    np.testing.assert_allclose(error, expected, rtol=1e-5)
    nats = error_of(*logits_of(variables, batch), batch["label"])[1]
    np.testing.assert_allclose(sums["nats_sum"], nats, rtol=1e-5)
    assert sums["num_targets"] == 5
    grads = jax.grad(lambda v: mutual(v, batch)[0])(variables)
    for kind, alone in (("params", own_error), (PEER, peer_error)):
        wanted = jax.grad(alone)(variables)[kind]
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, grads[kind], wanted)


def test_the_second_model_has_another_seed_and_names_for_its_axes(variables):
    own = jax.tree.leaves(init_params(STUDENT, seed=3)["params"])
    other = init_peer(STUDENT, seed=3)
    assert not any(np.array_equal(a, b) for a in own for b in other.values() if b.any())
    assert peer_names(OTHER).keys() == variables[PEER].keys()
    assert peer_names(OTHER)["features.kernel"] == ("features", "mlp")


@pytest.mark.parametrize(
    "settings",
    [
        dict(teacher="together", hidden_weight=0.1),
        dict(teacher="together", top_k=4),
        dict(teacher="together", first_step=2),
        dict(teacher="start", architecture="a.json"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigError, match="together") as caught:
        DistillConfig(**settings)
    assert "\n" not in str(caught.value)
