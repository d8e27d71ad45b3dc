"""What a model says of itself is what its teacher's error is made of."""

import jax
import numpy as np
from flax import linen as nn

from slimjax.models.config import ModelSettings
from slimjax.models.decoder import Decoder, abstract_variables

SETTINGS = ModelSettings(
    width=8, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=6
)


def test_outputs_multiply_out_to_the_logits_whatever_the_gates():
    model = Decoder(SETTINGS.build(11))
    draw = np.random.default_rng(0)
    numbers = lambda leaf: draw.uniform(0.2, 1.0, leaf.shape).astype(np.float32)
    abstract = nn.meta.unbox(abstract_variables(model.config))
    variables = jax.tree.map(numbers, abstract)
    tokens = draw.integers(0, 11, (2, 5))
    x, table, streams = model.apply(variables, tokens, method="outputs")
    assert len(streams) == 3
    logits = model.apply(variables, tokens)
    np.testing.assert_allclose(x @ table.T, logits, rtol=2e-2, atol=1e-3)
