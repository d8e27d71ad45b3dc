"""Law 1 for every optimizer: closed = cut in the next update, whatever the shapes.

Weights, gates and gradients are drawn here, and no model is applied: that logits and
gradients are equal is shown in ``tests/resize``, and does not depend on optimizers.
"""

from functools import partial

import jax
import numpy as np
import optax
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from slimjax.nn.gates import SUBLAYER, axis_gates
from slimjax.resize.carry import carry_state, fold_moments
from slimjax.resize.factored import unfactor
from slimjax.resize.growth import plan_growth
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut, fold
from slimjax.train.adafactor import scale_by_adafactor
from slimjax.train.optim_config import OPTIMIZERS, OptimConfig
from slimjax.train.optimizers import make_optimizer
from slimjax.trees import flatten, unflatten

RATE = optax.linear_schedule(1e-2, 1e-3, 4)
EXACT = [name for name in OPTIMIZERS if name != "adafactor"]
NAMES = {
    ("table",): ("vocab", "embed"),
    ("block", "attention", "query"): ("embed", "kv_heads", "head_dim"),
    ("block", "attention", "out"): ("kv_heads", "head_dim", "embed"),
    ("block", "mlp", "up"): ("embed", "mlp"),
    ("block", "mlp", "down"): ("mlp", "embed"),
    ("block", "mlp", "norm"): ("embed",),
}
GATES = {
    ("block", "attention", "kv_heads"): "kv_heads",
    ("block", "mlp", "mlp"): "mlp",
    ("block", "mlp", SUBLAYER): "",
    ("embed",): "embed",
}


@st.composite
def lengths(draw) -> dict[str, int]:
    axes = ("vocab", "embed", "kv_heads", "head_dim", "mlp")
    return {axis: draw(st.integers(2, 9)) for axis in axes}


def draw_params(sizes: dict[str, int], source, fill=None) -> dict:
    normal = lambda shape: source.standard_normal(shape).astype(np.float32)
    shape = lambda axes: tuple(sizes[axis] for axis in axes)
    weights = {path: normal(shape(axes)) for path, axes in NAMES.items()}
    ones = lambda axis: np.ones(shape([axis] if axis else []), np.float32)
    gates = {path: fill or ones(axis) for path, axis in GATES.items()}
    return {"params": unflatten(weights), "gates": unflatten(gates)}


def draw_gates(params: dict, source, *, hard: bool) -> dict:
    gates = {}
    for path, gate in flatten(params["gates"]).items():
        values = source.uniform(0.3, 1.0, gate.shape)
        is_open = source.random(gate.shape) < (0.8 if path[-1] == SUBLAYER else 0.6)
        if is_open.ndim:
            is_open[source.integers(len(is_open))] = True
        gates[path] = (np.where(hard, 1.0, values) * is_open).astype(np.float32)
    return gates


def names_tree() -> dict:
    gates = {path: (axis,) if axis else () for path, axis in GATES.items()}
    return {"params": unflatten(dict(NAMES)), "gates": unflatten(gates)}


def only_open(tree: dict, gates: dict) -> dict:
    """Returns gradients of weights, those of closed units being 0 exactly."""
    kept = {}
    for path, grad in flatten(tree["params"]).items():
        for i, (axis, length) in enumerate(zip(NAMES[path], grad.shape, strict=True)):
            units = axis_gates(path, axis, length, gates)
            if units is not None:
                others = [j for j in range(grad.ndim) if j != i]
                grad = grad * np.expand_dims(np.sign(units), others)
        whole = gates.get((*path[:-1], SUBLAYER))
        kept[path] = grad if whole is None else grad * np.sign(whole)
    return {**tree, "params": unflatten(kept)}


def optimizer(name: str, *, penalties: bool = True) -> optax.GradientTransformation:
    extra = dict(l1=0.1, l2=0.2) if penalties else {}
    config = OptimConfig(name, learning_rate=1e-2, clip_norm=1.0, **extra)
    weights = make_optimizer(config, RATE, keeps_curvature=True)
    groups = {"weights": weights, "gates": optax.set_to_zero()}
    return optax.partition(groups, {"params": "weights", "gates": "gates"})


def walk(tx, params: dict, grads: list[dict]):
    state, update = tx.init(params), jax.jit(tx.update)
    for grad in grads:
        updates, state = update(grad, state, params)
        params = {**params, **optax.apply_updates(params, updates)}
    return jax.device_get((params, state))


def assert_close(one, other, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), one, other)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
@settings(max_examples=3, phases=[Phase.generate])
def test_the_next_update_is_that_of_a_model_without_the_closed_units(name, data):
    source = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    params = draw_params(data.draw(lengths()), source)
    gates, names, tx = (
        draw_gates(params, source, hard=True),
        names_tree(),
        optimizer(name),
    )
    draw = lambda: only_open(draw_params(sizes_of(params), source), gates)
    grads, last = [draw() for _ in range(3)], draw()
    params, state = walk(tx, params, grads)
    expected, _ = jax.jit(tx.update)(last, state, params)

    plan = make_plan(gates)
    slim = lambda tree: {kind: cut(tree[kind], names[kind], plan) for kind in tree}
    small_state = carry_state(tx, state, slim(params), names, plan)
    actual, _ = jax.jit(tx.update)(slim(last), small_state, slim(params))
    assert_close(actual["params"], slim(expected)["params"])


def sizes_of(params: dict) -> dict[str, int]:
    weights = flatten(params["params"])
    pairs = (
        zip(NAMES[path], weight.shape, strict=True) for path, weight in weights.items()
    )
    return {axis: length for own in pairs for axis, length in own}


@given(data=st.data())
@settings(max_examples=3, phases=[Phase.generate])
def test_estimates_of_adafactor_are_those_of_before_the_cut(data):
    source = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    params = draw_params(data.draw(lengths()), source)
    gates, names = draw_gates(params, source, hard=True), names_tree()
    tx = scale_by_adafactor(least_factored=data.draw(st.integers(2, 6)))
    draw = lambda: draw_params(sizes_of(params), source)
    params, state = walk(tx, params, [draw() for _ in range(3)])
    plan = make_plan(gates)
    slim = lambda tree: {kind: cut(tree[kind], names[kind], plan) for kind in tree}
    small = carry_state(tx, state, slim(params), names, plan)
    fresh = tx.init(slim(params))
    assert small.count == 3
    shapes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
    assert shapes(small) == shapes(fresh)
    before, after = (flatten(unfactor(own)["params"]) for own in (state, small))
    expected = flatten(cut(unflatten(before), names["params"], plan))
    for path, moment in after.items():
        if len(NAMES[path]) < 3:  # Of three axes others may have become the longest.
            np.testing.assert_allclose(moment, expected[path], rtol=1e-5)
        np.testing.assert_allclose(moment.mean(), expected[path].mean(), rtol=1e-5)
    updates, _ = jax.jit(tx.update)(slim(draw()), small, slim(params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
@settings(max_examples=2, phases=[Phase.generate])
def test_folded_moments_are_those_of_folded_weights(name, data):
    """With w' = g w, and g open, a gradient of w' is that of w divided by g.

    Clipping and Adafactor's blocks use norms of whole arrays, which fold otherwise: so
    without them, and with all gates open.
    """
    source = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    params = draw_params(data.draw(lengths()), source)
    gates, names = draw_gates(params, source, hard=False), names_tree()
    gates = {
        path: np.where(gate == 0, np.float32(0.7), gate) for path, gate in gates.items()
    }
    config = OptimConfig(name, clip_norm=0.0)
    tx = make_optimizer(config, RATE, keeps_curvature=True)
    grads = [draw_params(sizes_of(params), source) for _ in range(3)]
    inverse = lambda grad, gate: grad / gate
    fold_grad = lambda g: {
        **g,
        "params": fold(g["params"], names["params"], gates, inverse),
    }
    pick = lambda tree: {"params": tree["params"]}
    _, state = walk(tx, pick(params), [pick(g) for g in grads])
    _, expected = walk(tx, pick(params), [pick(fold_grad(g)) for g in grads])
    assert_close(fold_moments(state, names, gates), expected, rtol=1e-4)


def test_a_weight_too_short_to_be_factored_keeps_all_of_its_estimate():
    tx, source = scale_by_adafactor(least_factored=6), np.random.default_rng(0)
    params = {"params": {"up": source.standard_normal((9, 7)).astype("f4")}}
    grads = jax.tree.map(lambda w: w**3, params)
    _, state = tx.update(grads, tx.init(params), params)
    gates = {("mlp",): np.array([1.0, 1, 0, 0, 1, 1, 0])}
    plan = make_plan(gates)
    names = {"params": {"up": ("embed", "mlp")}}
    slim = {"params": cut(params["params"], names["params"], plan)}
    small = carry_state(tx, jax.device_get(state), slim, names, plan)
    assert state.v["params"]["up"].shape == (1,)
    assert small.v["params"]["up"].shape == (9, 4)
    expected = unfactor(state)["params"]["up"][:, [0, 1, 4, 5]]
    np.testing.assert_allclose(small.v["params"]["up"], expected, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_new_units_are_zero_and_those_of_others_are_kept(name):
    source, sizes = np.random.default_rng(1), {("mlp",): (6,)}
    names = {"params": {"up": ("embed", "mlp")}, "gates": {"mlp": ("mlp",)}}
    params = {
        "params": {"up": source.standard_normal((9, 6)).astype("f4")},
        "gates": {"mlp": np.ones(6, np.float32)},
    }
    tx = optimizer(name)
    params, state = walk(tx, params, [params, params])
    change = plan_growth(sizes, {("mlp",): 2})
    large = {kind: cut(params[kind], names[kind], change) for kind in params}
    grown = carry_state(tx, state, large, names, change)
    shapes = lambda tree: [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    assert shapes(grown) == shapes(tx.init(large))
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(grown), strict=True)
    for before, after in pairs:
        if np.ndim(before) == 2:
            np.testing.assert_array_equal(after[:, :6], before)
            np.testing.assert_array_equal(after[:, 6:], 0.0)
