"""What a model says of itself is what its teacher's error is made of."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from slimjax.models.build import build_model
from slimjax.models.settings import ModelSettings

SETTINGS = ModelSettings(
    width=8, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=6
)


def test_outputs_multiply_out_to_the_logits_whatever_the_gates():
    config = build_model(SETTINGS, 11)
    model = config.module()
    draw = np.random.default_rng(0)
    numbers = lambda leaf: draw.uniform(0.2, 1.0, leaf.shape).astype(np.float32)
    abstract = nn.meta.unbox(config.abstract_variables())
    variables = jax.tree.map(numbers, abstract)
    tokens = draw.integers(0, 11, (2, 5))
    inputs = {"tokens": jnp.asarray(tokens)}
    readouts, streams = model.apply(variables, inputs, method="outputs")
    readout = readouts["tokens"]
    assert len(streams) == 3
    logits = model.apply(variables, inputs)["tokens"].logits()
    whole = readout.x @ readout.table.T
    np.testing.assert_allclose(whole, logits, rtol=2e-2, atol=1e-3)
