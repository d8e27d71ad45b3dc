"""What optimizers by name promise: formulas, penalties, one-line refusals."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from slimjax.errors import ConfigError
from slimjax.models.build import build_model
from slimjax.models.config import ModelSettings
from slimjax.models.runs import Run, stack, unstack
from slimjax.nn.bit_axes import is_matrix
from slimjax.objective.curvature import WeightMoments
from slimjax.train.adafactor import scale_by_adafactor
from slimjax.train.optim_config import DECAYS, OPTIMIZERS, OptimConfig
from slimjax.train.optimizers import are_matrices, make_optimizer
from slimjax.train.schedules import make_schedule
from slimjax.trees import axis_names, flatten

RATE = optax.linear_schedule(0.1, 0.01, 5)
SHAPES = dict(table=(13, 7), heads=(3, 2, 5), norm=(7,))
OTHERS = tuple(name for name in OPTIMIZERS if not name.startswith("adam"))


def draw(seed: int) -> dict:
    source = np.random.default_rng(seed)
    return {k: source.standard_normal(s).astype("f4") for k, s in SHAPES.items()}


def walk(tx, params, steps: int = 3):
    state, update = tx.init(params), jax.jit(tx.update)
    for i in range(steps):
        updates, state = update(draw(i), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def plain(name: str, **changes) -> OptimConfig:
    base = dict(weight_decay=0.0, clip_norm=0.0, beta1=0.8, beta2=0.9)
    return OptimConfig(name, **(base | changes))


def assert_same_walk(config: OptimConfig, expected: optax.GradientTransformation):
    actual, _ = walk(make_optimizer(config, RATE), draw(9))
    wanted, _ = walk(expected, draw(9))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    jax.tree.map(close, actual, wanted)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (plain("adam"), optax.adam(RATE, 0.8, 0.9)),
        (plain("adam", weight_decay=0.1), optax.adam(RATE, 0.8, 0.9)),
        (plain("sgd"), optax.sgd(RATE)),
        (plain("momentum"), optax.sgd(RATE, 0.9)),
        (plain("momentum", momentum=0.7), optax.sgd(RATE, 0.7)),
        (plain("momentum", nesterov=True), optax.sgd(RATE, 0.9, nesterov=True)),
        (plain("adafactor"), optax.adafactor(RATE)),
        (plain("lion"), optax.lion(RATE, 0.8, 0.9, weight_decay=0.0)),
    ],
)
def test_each_name_is_the_optimizer_of_optax(config, expected):
    assert_same_walk(config, expected)


@pytest.mark.parametrize("name", OTHERS)
def test_clipping_and_decoupled_decay_go_with_each(name):
    scaled = optax.chain(
        optax.clip_by_global_norm(0.5),
        make_optimizer(plain(name), optax.constant_schedule(-1.0)),
        optax.add_decayed_weights(0.2, {"table": True, "heads": True, "norm": False}),
        optax.scale_by_learning_rate(RATE),
    )
    assert_same_walk(plain(name, weight_decay=0.2, clip_norm=0.5), scaled)


def test_sgd_with_momentum_is_the_textbooks_formula():
    rate, mu, w = 0.1, 0.7, draw(9)
    v = jax.tree.map(np.zeros_like, w)
    for i in range(3):
        v = {k: mu * v[k] + g for k, g in draw(i).items()}
        w = {k: w[k] - rate * v[k] for k in w}
    config = plain("momentum", momentum=mu)
    actual, _ = walk(make_optimizer(config, optax.constant_schedule(rate)), draw(9))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    jax.tree.map(close, actual, w)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l2_is_a_term_of_the_loss(name):
    """The gradient of (l2 / 2) w^2 is l2 w; norms are left alone."""
    config = plain(name, l2=0.3)
    tx, bare = (make_optimizer(c, RATE) for c in (config, plain(name)))
    params, grads = draw(9), draw(0)
    added = {k: g + 0.3 * params[k] * (g.ndim > 1) for k, g in grads.items()}
    actual, _ = tx.update(grads, tx.init(params), params)
    expected, _ = bare.update(added, bare.init(params), params)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, actual, expected)


@pytest.mark.parametrize("style", ["llama", "bert", "gpt2", "t5"])
@pytest.mark.parametrize("stacked", [False, True])
def test_no_norm_and_no_bias_of_any_style_is_penalised(style, stacked):
    """Scales of norms after a sublayer are stored as one row, as matrices are."""
    shape = dict(width=8, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=4)
    settings = ModelSettings(style=style, mlp_dim=8, **shape)
    boxed = build_model(settings, {"vocab": 16}, (), {"": 4}).abstract_variables()
    shapes, names = nn.meta.unbox(boxed)["params"], axis_names(boxed)["params"]
    if stacked:
        runs = (Run("", (0, 1)),)
        shapes = jax.eval_shape(lambda tree: stack(tree, runs), shapes)
        names = {k: v for k, v in names.items() if k != "layer_1"}
    penalised = {
        path[-2:] for path, own in flatten(are_matrices(shapes)).items() if own
    }
    axes = {path[-2:]: own for path, own in flatten(names).items()}
    scales = {path for path in axes if path[-1] == "scale"}
    assert scales
    assert penalised.isdisjoint(scales)
    assert {path for path, own in axes.items() if is_matrix(own)} <= penalised


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l1_makes_exact_zeros_after_the_step(name):
    rate, l1 = 0.1, 4.0
    tx = make_optimizer(plain(name, l1=l1), optax.constant_schedule(rate))
    bare = make_optimizer(plain(name), optax.constant_schedule(rate))
    params = draw(9)
    (one, _), (other, _) = (walk(own, params, steps=1) for own in (tx, bare))
    for key in ("table", "heads"):
        shrunk = np.sign(other[key]) * np.maximum(np.abs(other[key]) - rate * l1, 0)
        np.testing.assert_allclose(one[key], shrunk, rtol=1e-5, atol=1e-6)
        zeros = np.abs(other[key]) < rate * l1 - 1e-5
        assert zeros.any()
        assert (np.asarray(one[key])[zeros] == 0.0).all()
    np.testing.assert_array_equal(one["norm"], other["norm"])


def test_l1_falls_with_the_learning_rate():
    tx = make_optimizer(plain("sgd", l1=1.0), optax.linear_schedule(0.2, 0.0, 2))
    params = zeros = {"w": jnp.zeros((1, 1))}
    params, state = {"w": jnp.ones((1, 1))}, tx.init(params)
    for expected in (0.8, 0.7, 0.7):
        updates, state = tx.update(zeros, state, params)
        params = optax.apply_updates(params, updates)
        assert float(params["w"][0, 0]) == pytest.approx(expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_curvature_is_kept_where_the_optimizer_has_none(name):
    config = plain(name, clip_norm=1e-3)
    params, grads = {"params": draw(9)}, {"params": draw(0)}
    tx = make_optimizer(config, RATE, keeps_curvature=True)
    _, state = tx.update(grads, tx.init(params), params)
    is_own = lambda node: isinstance(node, WeightMoments)
    leaves = jax.tree.leaves(state, is_leaf=is_own)
    own = [node for node in leaves if is_own(node)]
    assert len(own) == (name in OTHERS)
    for node in own:  # Of the gradients before they were clipped.
        square = lambda m, g: np.testing.assert_allclose(m, 0.1 * g * g, rtol=1e-5)
        jax.tree.map(square, node.second, grads)


def test_nothing_changes_for_adamw():
    one, other = (
        make_optimizer(OptimConfig(), RATE, keeps_curvature=keeps)
        for keeps in (False, True)
    )
    state = one.init(draw(9))
    assert jax.tree.structure(state) == jax.tree.structure(other.init(draw(9)))
    names = [type(link).__name__ for link in state]
    assert names == [
        *("EmptyState", "ScaleByAdamState", "MaskedState", "ScaleByScheduleState"),
    ]


def test_adafactor_treats_stacked_layers_as_it_treats_them_apart():
    """Gradients of layers differ in scale: means over all of them would be others."""
    tx, source = scale_by_adafactor(least_factored=4), np.random.default_rng(0)
    layer = lambda scale: {
        "up": scale * source.standard_normal((4, 6)).astype("f4"),
        "norm": scale * source.standard_normal(6).astype("f4"),
    }
    tree = lambda *scales: {f"layer_{i}": layer(s) for i, s in enumerate(scales)}
    params, grads = tree(1.0, 0.1, 3.0), tree(1.0, 100.0, 0.01)
    together = lambda tree: stack(tree, (Run("", (0, 1, 2)),))
    _, apart_state = tx.update(grads, tx.init(params), params)
    expected, apart_state = tx.update(grads, apart_state, params)
    whole = together(params)
    _, state = tx.update(together(grads), tx.init(whole), whole)
    actual, state = tx.update(together(grads), state, whole)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5)
    jax.tree.map(close, unstack(actual, (Run("", (0, 1, 2)),)), expected)
    jax.tree.map(close, unstack(state, (Run("", (0, 1, 2)),)), apart_state)


def rates(num_steps: int = 100, **options) -> np.ndarray:
    config = OptimConfig(**(dict(warmup_steps=10, final_fraction=0.0) | options))
    schedule = make_schedule(config, num_steps)
    return np.array([float(schedule(step)) for step in range(num_steps + 1)])


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_every_decay_starts_at_the_peak_after_warm_up_and_plateau(decay, fraction):
    found = rates(decay=decay, decay_fraction=fraction)
    np.testing.assert_allclose(found[:11], np.linspace(0.1, 1.0, 11), rtol=1e-6)
    begin = 10 if fraction == 1 else 60
    np.testing.assert_allclose(found[10:begin], 1.0)
    assert found[begin] == pytest.approx(1.0)
    assert np.all(np.diff(found[begin:]) <= 1e-6)
    assert (found[-1] < 0.95) == (decay != "constant")


@pytest.mark.parametrize("decay", DECAYS)
def test_a_plateau_is_the_beginning_of_any_longer_one(decay):
    found = rates(50, decay=decay, decay_fraction=0.0)
    longer = rates(400, decay=decay, decay_fraction=0.5)[:51]
    np.testing.assert_array_equal(found, longer)
    assert {*found[10:]} == {1.0}


def test_the_cosine_starts_again():
    found = rates(110, decay="cosine", decay_restarts=3)
    np.testing.assert_allclose(found[[10, 35, 60, 85]], 1.0, atol=1e-6)
    np.testing.assert_allclose(found[[22, 47, 72]], found[[97, 97, 97]], atol=1e-6)
    assert found[34] < 0.01
    assert found[110] == pytest.approx(0.0)
    np.testing.assert_allclose(rates(decay="cosine"), rates(decay_restarts=0))


def test_decays_by_a_factor_meet_at_the_ends_of_their_intervals():
    options = dict(decay_rate=0.3, decay_every_steps=20, warmup_steps=0)
    smooth, steps = (rates(decay=d, **options) for d in ("exponential", "step"))
    np.testing.assert_allclose(smooth[::20], 0.3 ** np.arange(6), rtol=1e-5)
    np.testing.assert_allclose(steps[::20], smooth[::20], rtol=1e-5)
    np.testing.assert_allclose(steps[20:40], 0.3, rtol=1e-5)
    np.testing.assert_allclose(smooth[25], 0.3**1.25, rtol=1e-5)
    assert rates(decay="step", final_fraction=0.2, **options)[-1] == pytest.approx(0.2)


def test_the_inverse_root_goes_on_from_the_warm_up():
    found = rates(decay="inverse_sqrt", final_fraction=0.4)
    np.testing.assert_allclose(found[10:60], np.sqrt(10 / np.arange(10, 60)), rtol=1e-5)
    assert found[-1] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(name="adamwt"), r"config\.optim\.name='adamwt' .* mean adamw\?"),
        (dict(decay="linaer"), r"config\.optim\.decay='linaer' .* mean linear\?"),
        (dict(momentum=0.9), r"momentum=0\.9 has no effect with .*name='adamw'"),
        (dict(name="sgd", momentum=0.9), "name='momentum'"),
        (dict(name="sgd", nesterov=True), "nesterov=True has no effect"),
        (dict(name="momentum", momentum=1.0), "momentum=1.0 must be 0 or more and be"),
        (dict(name="adam", weight_decay=0.05), "weight_decay=0.05 has no effect"),
        (dict(decay_rate=0.9), "decay_rate=0.9 has no effect"),
        (
            dict(decay="step", decay_rate=0.0),
            "decay_rate=0.0 must be above 0 and below",
        ),
        (
            dict(decay="step", decay_rate=1.5),
            "decay_rate=1.5 must be above 0 and below",
        ),
        (dict(decay_every_steps=5), "decay_every_steps=5 has no effect"),
        (dict(decay="linear", decay_restarts=2), "decay_restarts=2 has no effect"),
        (dict(decay_restarts=-1), "decay_restarts=-1 must be 0 or more"),
        (dict(l1=-0.1), "l1=-0.1 must be 0 or more"),
        (dict(l2=float("nan")), "l2=nan must be 0 or more"),
        (dict(learning_rate=0.0), "learning_rate=0.0 must be above 0"),
        (dict(accumulation_steps=0), "accumulation_steps=0 must be above 0"),
    ],
)
def test_settings_without_effect_or_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        OptimConfig(**options)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
