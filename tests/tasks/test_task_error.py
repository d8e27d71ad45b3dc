"""The error of a task: weighed, summed over heads, and divided by what counts."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Targets, Task
from slimjax.tasks.error import losses_of, make_error_fn, make_outputs_fn, split_key

B, T, D, C, N = 4, 3, 5, 6, 2
TOKENS = HeadConfig("tokens", C)
TAGS = HeadConfig("tags", N, at="first", loss="binary")
NUMBER = HeadConfig("number", 1, at="first", loss="gaussian", variance=0.5)
HEADS = TOKENS, TAGS, NUMBER


class Network:
    """A model without layers: the batch holds what its heads read."""

    def apply(self, variables, inputs, key=None):
        noise = 0.0 if key is None else jax.random.normal(key, ())
        return {
            head.name: Readout(
                jnp.asarray(inputs[head.name]) + noise, variables[head.name]
            )
            for head in HEADS
        }


@dataclasses.dataclass(frozen=True)
class Model(ModelConfig):
    """What the error must know of a model."""

    towers: tuple[TowerConfig, ...] = ()
    heads: tuple[HeadConfig, ...] = HEADS

    def module(self) -> Network:
        return Network()


def make_task(*names: str, outputs=lambda *_: {}) -> Task:
    """Returns a task that asks for these heads; the batch says it all."""

    def targets(batch, _):
        return {
            name: Targets(batch[f"{name}_values"], batch[f"{name}_weight"])
            for name in names
        }

    inputs = lambda batch, _: {name: batch[name] for name in batch}
    return Task("all", lambda _: HEADS, inputs, targets, (), outputs)


@pytest.fixture(scope="module")
def variables():
    source = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(source.standard_normal(shape), jnp.float32)
    return {"tokens": draw(C, D), "tags": draw(N, D), "number": draw(1, D)}


@pytest.fixture(scope="module")
def batch():
    source = np.random.default_rng(1)
    draw = lambda *shape: source.standard_normal(shape).astype(np.float32)
    weight = np.ones((B, T), np.float32)
    weight[1, 1:] = 0.0
    weight[3] = 0.0
    arrays = {
        "tokens": draw(B, T, D),
        "tokens_values": source.integers(0, C, (B, T)),
        "tokens_weight": weight,
        "tags": draw(B, D),
        "tags_values": source.uniform(size=(B, N)).astype(np.float32),
        "tags_weight": np.array([1, 1, 1, 0], np.float32),
        "number": draw(B, D),
        "number_values": draw(B),
        "number_weight": np.array([1, 0, 1, 0], np.float32),
    }
    return jax.tree.map(jnp.asarray, arrays)


def expected_nats(variables, batch) -> dict[str, np.ndarray]:
    """The formulas in float64: the nats of each target, by head."""
    batch = jax.tree.map(np.asarray, batch)
    x = {head.name: np.float64(batch[head.name]) for head in HEADS}
    logits = {name: x[name] @ np.float64(variables[name]).T for name in x}
    scores = logits["tokens"]
    log_norm = np.log(np.exp(scores).sum(-1))
    values = batch["tokens_values"][..., None]
    chosen = np.take_along_axis(scores, values, -1)[..., 0]
    p, t = 1 / (1 + np.exp(-logits["tags"])), batch["tags_values"]
    missed = batch["number_values"] - logits["number"][:, 0]
    variance = NUMBER.variance
    return {
        "tokens": log_norm - chosen,
        "tags": -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(-1),
        "number": missed**2 / (2 * variance) + math.log(2 * math.pi * variance) / 2,
    }


NAMES = [head.name for head in HEADS]


@pytest.mark.parametrize("names", [*([name] for name in NAMES), NAMES])
def test_the_error_is_the_mean_of_all_targets_that_count(names, variables, batch):
    error, sums = make_error_fn(make_task(*names), Model())(variables, batch)
    nats = expected_nats(variables, batch)
    total = sum((nats[n] * batch[f"{n}_weight"]).sum() for n in names)
    count = sum(batch[f"{n}_weight"].sum() for n in names)
    assert set(sums) == {"nats_sum", "num_targets"}
    assert float(sums["num_targets"]) == count
    assert float(sums["nats_sum"]) == pytest.approx(float(total), rel=1e-5)
    assert float(error) == pytest.approx(float(total / count), rel=1e-5)


def test_sums_add_up_over_batches(variables, batch):
    error_fn = make_error_fn(make_task(*NAMES), Model())
    whole = error_fn(variables, batch)[1]
    parts = [
        error_fn(variables, {k: v[rows] for k, v in batch.items()})[1]
        for rows in (slice(0, 1), slice(1, B))
    ]
    for name, value in whole.items():
        added = float(parts[0][name]) + float(parts[1][name])
        assert float(value) == pytest.approx(added, rel=1e-5)


def test_what_is_padding_has_no_gradient(variables, batch):
    error_fn = make_error_fn(make_task(*NAMES), Model())
    of_inputs = lambda x: error_fn(variables, {**batch, **x})[0]
    x = {name: jnp.asarray(batch[name]) for name in NAMES}
    slopes = jax.grad(of_inputs)(x)
    for name in NAMES:
        counts = np.asarray(batch[f"{name}_weight"]) > 0
        assert not np.any(np.asarray(slopes[name])[~counts])
        assert np.all(np.any(np.asarray(slopes[name])[counts], axis=-1))


def test_a_batch_without_targets_has_no_error(variables, batch):
    none = {k: v * 0 if k.endswith("_weight") else v for k, v in batch.items()}
    error, sums = make_error_fn(make_task(*NAMES), Model())(variables, none)
    assert float(error) == float(sums["nats_sum"]) == float(sums["num_targets"]) == 0


def test_smoothing_and_z_loss_are_descended_and_not_summed(variables, batch):
    task = make_task("tokens", "number")
    plain, sums = make_error_fn(task, Model())(variables, batch)
    options = dict(label_smoothing=0.2, z_loss=0.01)
    other, same = make_error_fn(task, Model(), **options)(variables, batch)
    assert float(same["nats_sum"]) == float(sums["nats_sum"])
    batch = jax.tree.map(np.asarray, batch)
    logits = np.float64(batch["tokens"]) @ np.float64(variables["tokens"]).T
    log_norm = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, batch["tokens_values"][..., None], -1)[..., 0]
    more = 0.2 * (chosen - logits.mean(-1)) + 0.01 * log_norm**2
    more = (more * batch["tokens_weight"]).sum() / float(sums["num_targets"])
    assert float(other) == pytest.approx(float(plain) + more, rel=1e-5)


def descended(head, values, logits):
    """Returns loss and nats of one head whose logits are given."""
    readouts = {head.name: Readout(jnp.asarray(logits), jnp.eye(logits.shape[-1]))}
    targets = {head.name: Targets(jnp.asarray(values), jnp.ones(len(values)))}
    losses, nats = losses_of((head,), readouts, targets)
    return np.asarray(losses[head.name]), np.asarray(nats[head.name])


def test_weights_and_focus_change_what_is_descended_and_not_what_is_reported(batch):
    logits, values = np.float32(batch["tokens"][:, 0]), np.array([0, 3, 1, 1])
    weights = (1.0, 2.0, 3.0, 4.0, 0.5)
    head = HeadConfig("label", D, weights=weights, focal_gamma=2.0)
    plain, nats = descended(HeadConfig("label", D), values, logits)
    np.testing.assert_array_equal(plain, nats)
    loss, same = descended(head, values, logits)
    np.testing.assert_array_equal(same, nats)
    expected = np.take(weights, values) * (1 - np.exp(-nats)) ** 2 * nats
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_answers_of_yes_and_no_are_weighed_one_by_one(batch):
    logits = np.float32(batch["tokens"][:, 0])
    values = (logits[:, ::-1] > 0).astype(np.float32)
    weights = np.array([1.0, 2.0, 3.0, 4.0, 0.5])
    options = dict(loss="binary", weights=tuple(weights), focal_gamma=1.0)
    loss, nats = descended(HeadConfig("label", D, **options), values, logits)
    p = 1 / (1 + np.exp(-np.float64(logits)))
    p = np.where(values > 0, p, 1 - p)
    np.testing.assert_allclose(nats, -np.log(p).sum(-1), rtol=1e-5)
    expected = (weights * (1 - p) * -np.log(p)).sum(-1)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_heads_that_a_batch_does_not_ask_are_left_out(variables, batch):
    readouts = Network().apply(variables, batch)
    targets = {"tags": Targets(batch["tags_values"], batch["tags_weight"])}
    losses, nats = losses_of(HEADS, readouts, targets)
    assert set(losses) == set(nats) == {"tags"}


def test_rows_are_summed_one_by_one(variables, batch):
    own = lambda readouts, _: {"guess": readouts["number"].logits()[:, 0]}
    outputs_fn = make_outputs_fn(make_task(*NAMES, outputs=own), Model())
    rows, nats = outputs_fn(variables, batch), expected_nats(variables, batch)
    by_row = lambda x: np.float64(x).reshape(B, -1).sum(1)
    weights = {name: batch[f"{name}_weight"] for name in NAMES}
    expected = sum(by_row(nats[name] * weights[name]) for name in NAMES)
    assert set(rows) == {"nats", "targets", "guess"}
    np.testing.assert_allclose(rows["nats"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows["targets"], sum(map(by_row, weights.values())))
    alone = outputs_fn(variables, {k: v[2:3] for k, v in batch.items()})
    # One row and several are different programs, which may add in another order.
    np.testing.assert_allclose(alone["nats"][0], rows["nats"][2], rtol=1e-6)


def test_a_key_reaches_the_data_and_the_model_by_ways_of_their_own(variables, batch):
    seen = []
    task = make_task("number")
    inputs = lambda batch, key: seen.append(key) or dict(batch)
    task = dataclasses.replace(task, inputs=inputs)
    error_fn = make_error_fn(task, Model())
    key = jax.random.key(3)
    plain, noisy = error_fn(variables, batch)[0], error_fn(variables, batch, key)[0]
    assert float(plain) != float(noisy)
    assert float(noisy) == float(error_fn(variables, batch, key)[0])
    data_key, model_key = split_key(key)
    assert seen[0] is None
    assert jnp.array_equal(jax.random.key_data(seen[1]), jax.random.key_data(data_key))
    assert not jnp.array_equal(
        jax.random.key_data(data_key), jax.random.key_data(model_key)
    )
    assert split_key(None) == (None, None)
