"""Law 3: growing and cutting undo each other, and the order of cuts does not matter."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import draw_inputs, hard_gates, logits_of, make_variables, recipes

from slimjax.nn.gates import SUBLAYER
from slimjax.resize import cut, grow, make_plan, plan_growth
from slimjax.resize.plan import Change
from slimjax.trees import axis_names, flatten, unflatten


def cut_weights(weights, names, gates):
    return cut(weights, names, make_plan(gates))


def closed_before(gates: dict, source: np.random.Generator) -> dict:
    """Returns gates that close a part of what `gates` close."""

    def some(path, gate):
        if path[-1] in ("heads", SUBLAYER):  # Heads go from all groups, or from none.
            return gate if source.random() < 0.5 else np.ones_like(gate)
        return np.where(source.random(gate.shape) < 0.5, gate, 1.0)

    return {path: some(path, gate) for path, gate in gates.items()}


@given(st.data(), st.integers(0, 99))
@settings(max_examples=settings.default.max_examples)
def test_the_order_of_cuts_does_not_matter(data, seed):
    config = data.draw(recipes())
    gates = data.draw(hard_gates(config))
    variables, names = make_variables(config)
    first = closed_before(gates, np.random.default_rng(seed))
    plan = make_plan(first)
    between = cut(variables["params"], names["params"], plan)
    small = axis_names(config.reshaped(between).abstract_variables())
    left = cut(unflatten(gates), names["gates"], plan)
    in_two = cut_weights(between, small["params"], flatten(left))
    at_once = cut_weights(variables["params"], names["params"], gates)
    jax.tree.map(np.testing.assert_array_equal, in_two, at_once)


@given(st.data(), st.integers(0, 99))
@settings(max_examples=5)
def test_a_grown_model_computes_the_same_and_cut_again_is_the_same(data, seed):
    config = data.draw(recipes())
    variables, names = make_variables(config)
    source = np.random.default_rng(seed)
    sizes = {path: gate.shape for path, gate in flatten(variables["gates"]).items()}
    units = [path for path in sizes if path[-1] in ("mlp", "heads", "kv_heads")]
    more = {path: int(source.integers(0, 3)) for path in units}
    change = plan_growth(sizes, more)
    shapes = cut(variables["params"], names["params"], change)
    fresh = jax.tree.map(lambda x: source.normal(size=x.shape).astype("f4"), shapes)
    host = jax.tree.map(np.asarray, variables["params"])
    grown = grow(host, names["params"], change, fresh)
    grown = jax.tree.map(jnp.asarray, grown)
    gates = jax.tree.map(jnp.ones_like, cut(variables["gates"], names["gates"], change))

    large = config.reshaped(grown)
    inputs = draw_inputs(config)
    expected = logits_of(config, variables, inputs)
    same = logits_of(large, {"params": grown, "gates": gates}, inputs)
    close = partial(np.testing.assert_allclose, atol=1e-5)
    jax.tree.map(close, same, expected)

    closed = {path: change.origin[path] >= 0 for path in change.origin}
    again = cut_weights(grown, names["params"], closed)
    jax.tree.map(np.testing.assert_array_equal, again, variables["params"])


def test_a_grown_group_has_as_many_heads_as_the_others():
    sizes = {("heads",): (4,), ("kv_heads",): (2,)}
    more = {("heads",): 1, ("kv_heads",): 1}
    origin = plan_growth(sizes, more).origin[("heads",)]
    np.testing.assert_array_equal(origin, [0, 1, -1, 2, 3, -1, -1, -1, -1])


@pytest.mark.parametrize("axis", ["embed", "filters_0"])
def test_channels_and_filters_are_not_added(axis):
    with pytest.raises(ValueError, match="channels"):
        plan_growth({(axis,): (4,)}, {(axis,): 1})


def test_heads_without_gates_of_their_own_follow_their_groups():
    origin = {("kv_heads",): np.array([1, -1])}
    change = Change(origin, {("kv_heads",): (2,)}, frozenset())
    (heads,) = change.indices(("query",), (6,), ("heads",))
    np.testing.assert_array_equal(heads, [3, 4, 5, -1, -1, -1])
