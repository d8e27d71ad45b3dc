"""What AdamW promises: the numbers of Optax, whoever computes them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilers import NATIVE

from slimjax import native
from slimjax.native import library, optimizer_calls
from slimjax.train.adamw import adamw, apply_updates, global_norm
from slimjax.train.optimizers import are_matrices

SHAPES = dict(table=(130, 140), matrix=(5, 7), norm=(7,), scalar=())
RATE, DECAY = optax.linear_schedule(0.1, 0.01, 5), 0.2


@pytest.fixture(autouse=True, params=["xla", NATIVE])
def way(request, monkeypatch):
    """Has XLA or the kernels compute, these in more calls than one."""
    assert request.param == "xla" or library.register()
    monkeypatch.setattr(native, "is_enabled", lambda: request.param == "native")
    monkeypatch.setattr(optimizer_calls, "MOST_ARRAYS", 3)


def draw(seed: int) -> dict:
    source = np.random.default_rng(seed)
    return {k: source.standard_normal(s).astype("f4") for k, s in SHAPES.items()}


def textbook(clip_norm: float) -> optax.GradientTransformation:
    only_matrices = lambda params: jax.tree.map(lambda w: w.ndim > 1, params)
    clip = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    options = dict(b1=0.8, b2=0.9, weight_decay=DECAY, mask=only_matrices)
    return optax.chain(*clip, optax.adamw(RATE, **options))


def run(fn, *args):
    """Compiles anew, since what was compiled for one way is no answer for another."""
    return jax.jit(lambda *args: fn(*args))(*args)


def walk(tx, params, steps: int = 3):
    state = tx.init(params)
    for i in range(steps):
        updates, state = jax.jit(tx.update)(draw(i), state, params)
        params = run(apply_updates, {"params": params}, {"params": updates})
        params = params["params"]
    return params, state


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1e6])
def test_it_moves_weights_and_moments_as_optax_does(clip_norm):
    moments = dict(beta1=0.8, beta2=0.9)
    tx = adamw(
        RATE, weight_decay=DECAY, clip_norm=clip_norm, decays=are_matrices, **moments
    )
    expected = walk(textbook(clip_norm), draw(9))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    actual = walk(tx, draw(9))
    jax.tree.map(close, actual[0], expected[0])
    jax.tree.map(close, jax.tree.leaves(actual[1]), jax.tree.leaves(expected[1]))


def test_the_norm_is_over_all_arrays():
    numbers = np.concatenate([np.ravel(x) for x in draw(3).values()])
    actual = run(global_norm, draw(3))
    np.testing.assert_allclose(actual, np.linalg.norm(numbers), rtol=1e-6)


def test_what_is_not_finite_stays_seen():
    moments = dict(beta1=0.8, beta2=0.9)
    tx = adamw(RATE, weight_decay=DECAY, clip_norm=1.0, decays=are_matrices, **moments)
    grads = draw(0) | {"norm": jnp.full(7, jnp.nan)}
    updates, _ = jax.jit(tx.update)(grads, tx.init(draw(9)), draw(9))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(updates))


def test_other_collections_move_too():
    tree = {"params": draw(1), "gates": {"mlp": jnp.ones(3)}}
    moved = run(apply_updates, tree, tree)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), moved, tree)
