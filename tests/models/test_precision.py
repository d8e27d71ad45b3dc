"""A model of float32 multiplies in float32, also where the device would round it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
import shapes
from dots import walk_dots
from hypothesis import given
from hypothesis import strategies as st

from slimjax import native

WHOLE = (jax.lax.Precision.HIGHEST,) * 2


def dots_of(config):
    """Returns the products of a model's logits and their gradients."""
    variables, inputs = shapes.make_variables(config)[0], shapes.draw_inputs(config)

    def total(params):
        logits = shapes.logits_of(config, variables | {"params": params}, inputs)
        return sum(jnp.sum(value) for value in logits.values())

    with native.off():
        program = jax.make_jaxpr(jax.grad(total))(variables["params"])
    return list(walk_dots(program.jaxpr))


@given(st.one_of(shapes.recipes(), shapes.fusions()))
def test_products_of_float32_are_not_rounded(config):
    config = dataclasses.replace(config, dtype=jnp.float32)
    for dot in dots_of(config):
        if dot.invars[0].aval.dtype == jnp.float32:
            assert dot.params["precision"] == WHOLE, dot


def test_products_of_bfloat16_stay_fast():
    layer = shapes.LayerConfig(num_heads=2, num_kv_heads=2, head_dim=4, mlp_dim=8)
    config = shapes.decoder(7, 8, (layer,), dtype=jnp.bfloat16)
    kinds = [(d.invars[0].aval.dtype, d.params["precision"]) for d in dots_of(config)]
    rounded = [precision for dtype, precision in kinds if dtype == jnp.bfloat16]
    assert set(rounded) == {None}


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_cells_carry_their_state_in_float32(cell):
    sizes = dict(num_heads=1, num_kv_heads=1, head_dim=2, mlp_dim=8, state_dim=4)
    layer = shapes.LayerConfig(**sizes, attention=False)
    style = dataclasses.replace(shapes.LLAMA, cell=cell)
    config = shapes.decoder(7, 8, (layer,), style=style, dtype=jnp.float32)
    found = [dot.params["precision"] for dot in dots_of(config)]
    assert set(found) == {WHOLE}
