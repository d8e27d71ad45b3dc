"""Weights whose width is spread over devices are gathered for use, and only for use."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from slimjax.nn.gather import gather_width

NAMES = "embed", "mlp"
SPREAD = P("fsdp", "model")


def test_a_width_is_gathered_rounded_and_its_gradient_summed_in_float32():
    kinds = (AxisType.Auto,) * 3
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "model"), axis_types=kinds)
    draw = np.random.default_rng(0).standard_normal
    weight, rows = draw((4, 6), np.float32), draw((8, 4), np.float32)
    weight, rows = jnp.asarray(weight), jnp.asarray(rows)

    def loss(weight, rows):
        whole = gather_width(weight, *NAMES, dtype=jnp.bfloat16)
        return jnp.sum(jnp.sin(rows @ whole)), whole

    lie = NamedSharding(mesh, SPREAD)
    placed = jax.device_put(weight, lie), rows
    with jax.set_mesh(mesh):
        step = jax.jit(jax.grad(loss, has_aux=True)).lower(*placed).compile()
    slope, whole = step(*placed)
    rounded = weight.astype(jnp.bfloat16).astype(jnp.float32)
    assert (np.asarray(whole) == np.asarray(rounded)).all()
    assert whole.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "model")), 2)
    assert slope.sharding.is_equivalent_to(lie, 2)
    expected = jax.grad(lambda w: jnp.sum(jnp.sin(rows @ w)))(rounded)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)
    assert gather_width(weight, *NAMES, dtype=jnp.bfloat16) is weight  # One device.
