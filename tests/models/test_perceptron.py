"""The plain perceptron equals the textbook's formulas, worked out by hand.

With the columns ``a0`` of inputs, ``W1 [H F]`` and ``W2 [C H]``:

    z1 = W1 a0 + b1,  a1 = s(z1),  z2 = W2 a1 + b2,  a2 = s(z2),  s(z) = 1 / (1 + e^-z)
    loss = -sum_c t_c log a2_c + (1 - t_c) log(1 - a2_c)
    dz2 = a2 - t,  dW2 = dz2 a1^T,  dz1 = (W2^T dz2) a1 (1 - a1),  dW1 = dz1 a0^T

The head's table is W2. The kernel of the stem is W1 transposed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slimjax.models import recipes
from slimjax.models.head import HeadConfig
from slimjax.tasks.base import Targets, Task
from slimjax.tasks.error import make_error_fn
from slimjax.train.optim_config import OptimConfig
from slimjax.train.optimizers import make_optimizer

RATE, TOLERANCE = 0.5, 1e-6
HEAD = HeadConfig("answer", 2, at="first", loss="binary", bias=True)
TASK = Task(
    name="textbook",
    heads=lambda _: (HEAD,),
    inputs=lambda batch, _: {"features": batch["features"]},
    targets=lambda batch, _: {"answer": Targets(batch["answer"], jnp.ones(1))},
    metrics=(),
)
BATCH = {"features": jnp.array([[1.0, 2.0]]), "answer": jnp.array([[0.1, 0.9]])}
W1, B1 = np.array([[0.1, 0.2], [0.3, -0.4]]), np.array([0.5, -0.6])
W2, B2 = np.array([[0.7, -0.8], [0.9, 1.1]]), np.array([-1.2, 0.25])


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def solve_by_hand() -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss, and the gradients in the textbook's layout, in float64."""
    a0, t = np.array([1.0, 2.0]), np.array([0.1, 0.9])
    a1 = sigmoid(W1 @ a0 + B1)
    a2 = sigmoid(W2 @ a1 + B2)
    loss = -np.sum(t * np.log(a2) + (1 - t) * np.log(1 - a2))
    dz2 = a2 - t
    dz1 = (W2.T @ dz2) * a1 * (1 - a1)
    slopes = dict(W1=np.outer(dz1, a0), b1=dz1, W2=np.outer(dz2, a1), b2=dz2)
    return float(loss), slopes


def to_textbook(params) -> dict[str, np.ndarray]:
    """Returns arrays of the model in the textbook's layout."""
    stem, head = params["features"], params["answer_head"]
    found = dict(W1=stem["kernel"].T, b1=stem["bias"][0], W2=head["table"])
    return {name: np.asarray(x) for name, x in (found | {"b2": head["bias"]}).items()}


@pytest.fixture(scope="module")
def model():
    return recipes.mlp(2, 2, heads=(HEAD,), activation="sigmoid")


@pytest.fixture(scope="module")
def params():
    as_array = lambda x: jnp.asarray(x, jnp.float32)
    return {
        "features": {"kernel": as_array(W1.T), "bias": as_array(B1[None])},
        "answer_head": {"table": as_array(W2), "bias": as_array(B2)},
    }


@pytest.fixture(scope="module")
def solved(model, params):
    """Returns the loss, and the gradients of weights and of gates."""
    error_fn = make_error_fn(TASK, model)
    variables = {"params": params, "gates": {"mlp": jnp.ones(2)}}
    (loss, _), slopes = jax.value_and_grad(error_fn, has_aux=True)(variables, BATCH)
    return loss, slopes


def test_layout_of_the_arrays(model):
    """The kernel is [F H], inputs first; the table is [C H], answers first."""
    boxed = model.abstract_variables()["params"]
    assert boxed["features"]["kernel"].names == ("features", "mlp")
    assert boxed["answer_head"]["table"].names == ("classes", "mlp")


def test_loss_and_gradients_equal_the_formulas(solved):
    loss, slopes = solved
    wanted_loss, wanted = solve_by_hand()
    assert abs(float(loss) - wanted_loss) <= TOLERANCE
    found = to_textbook(slopes["params"])
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=TOLERANCE, rtol=0)


def test_the_layouts_can_be_told_apart():
    _, wanted = solve_by_hand()
    for name in ("W1", "W2"):
        assert np.abs(wanted[name] - wanted[name].T).max() > 1000 * TOLERANCE


def test_one_step_of_sgd_equals_the_formulas(solved, params):
    config = OptimConfig("sgd", learning_rate=RATE, weight_decay=0.0, clip_norm=0.0)
    tx = make_optimizer(config, optax.constant_schedule(RATE))
    updates, _ = tx.update(solved[1]["params"], tx.init(params), params)
    found = to_textbook(optax.apply_updates(params, updates))
    _, slopes = solve_by_hand()
    for name, value in dict(W1=W1, b1=B1, W2=W2, b2=B2).items():
        wanted = value - RATE * slopes[name]
        np.testing.assert_allclose(found[name], wanted, atol=TOLERANCE, rtol=0)


def test_a_closed_unit_is_one_that_is_not_there(params):
    """Without unit 1, what reads it gets nothing, and neither does its bias."""
    whole = recipes.mlp(2, 2, heads=(HEAD,))
    part = recipes.mlp(2, 1, heads=(HEAD,))
    closed = {"params": params, "gates": {"mlp": jnp.array([1.0, 0.0])}}
    stem, head = params["features"], params["answer_head"]
    cut = {
        "features": {"kernel": stem["kernel"][:, :1], "bias": stem["bias"][:, :1]},
        "answer_head": {"table": head["table"][:, :1], "bias": head["bias"]},
    }
    same = {"params": cut, "gates": {"mlp": jnp.ones(1)}}
    outs = [
        make_error_fn(TASK, shape)(variables, BATCH)[0]
        for shape, variables in ((whole, closed), (part, same))
    ]
    np.testing.assert_allclose(*outs, atol=TOLERANCE, rtol=0)
