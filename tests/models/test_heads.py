"""Tables of heads: how large their numbers are at the start."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from shapes import draw_inputs

from slimjax.models import HeadConfig, LayerConfig, ModelConfig, encoder, mlp

HEADS = (HeadConfig("label", 200, at="first", bias=True),)


def spread_of_table(config: ModelConfig) -> float:
    """Returns the standard deviation of the head's table at the start."""
    boxed = config.module().init(jax.random.key(0), draw_inputs(config))
    found = jax.tree_util.tree_leaves_with_path(nn.meta.unbox(boxed)["params"])
    tables = [x for path, x in found if "label" in jax.tree_util.keystr(path)]
    return float(np.std(max(tables, key=np.size)))


def test_a_perceptrons_head_starts_as_a_plain_layer():
    """With 0.02 as for normed inputs, a short run would learn too slowly."""
    spread = spread_of_table(mlp(6, 64, heads=HEADS))
    assert spread == pytest.approx(64**-0.5, rel=0.05)


def test_a_head_behind_layers_starts_small():
    config = encoder(9, 64, (LayerConfig(2, 2, 4, 8),), heads=HEADS)
    spread = spread_of_table(config)
    assert spread == pytest.approx(0.02, rel=0.05)
