"""Random shapes of models, for laws that hold for all of them."""

import jax
import numpy as np
from flax import linen as nn
from hypothesis import strategies as st

from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.nn.gates import CHANNELS, SUBLAYER
from slimjax.trees import axis_names, flatten


@st.composite
def layers(draw) -> LayerConfig:
    num_kv_heads = draw(st.integers(1, 3))
    return LayerConfig(
        num_heads=num_kv_heads * draw(st.integers(1, 3)),
        num_kv_heads=num_kv_heads,
        head_dim=2 * draw(st.integers(1, 3)),
        mlp_dim=draw(st.integers(1, 9)),
        attention=draw(st.sampled_from([True, True, True, False])),
        mlp=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def models(draw, max_layers: int = 3) -> ModelConfig:
    return ModelConfig(
        vocab_size=draw(st.integers(5, 17)),
        width=draw(st.integers(3, 10)),
        layers=tuple(draw(st.lists(layers(), min_size=1, max_size=max_layers))),
        attention_impl="reference",
    )


@st.composite
def hard_gates(draw, config: ModelConfig) -> dict:
    """Draws gates of 0 and 1 that leave equal numbers of heads in each group."""
    boxed = abstract_variables(config)
    shapes = {
        p: g.shape for p, g in flatten(nn.meta.unbox(boxed.get("gates", {}))).items()
    }
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gates = {}
    for path, shape in shapes.items():
        if path[-1] == SUBLAYER:
            gates[path] = np.array(float(source.random() < 0.8))
        elif path[-1] == "heads":
            groups = shapes[(*path[:-1], "kv_heads")][0]
            size = shape[0] // groups
            kept = source.integers(1, size + 1)
            rows = [source.permutation(size) < kept for _ in range(groups)]
            gates[path] = np.concatenate(rows).astype(float)
        else:
            gates[path] = (source.random(shape) < 0.6).astype(float)
            if path == (CHANNELS,):  # A model without width is no model.
                gates[path][source.integers(shape[0])] = 1.0
    return gates


def make_variables(config: ModelConfig, seed: int = 0) -> tuple[dict, dict]:
    """Returns variables of random weights and open gates, and the names of their axes.

    Nothing is compiled, since every shape would be compiled anew.
    """
    boxed = abstract_variables(config)
    shapes, source = nn.meta.unbox(boxed), np.random.default_rng(seed)

    def draw(shape):
        fan_in = max(1, int(np.prod(shape.shape[:-1])))
        return (source.standard_normal(shape.shape) / fan_in**0.5).astype(np.float32)

    gates = jax.tree.map(
        lambda g: np.ones(g.shape, np.float32), shapes.get("gates", {})
    )
    weights = jax.tree.map(draw, shapes["params"])
    return {"params": weights, "gates": gates}, axis_names(boxed)
