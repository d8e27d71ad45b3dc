"""Random shapes of models, for laws that hold for all of them."""

import jax
import numpy as np
from flax import linen as nn
from hypothesis import strategies as st

from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import Decoder, abstract_variables
from slimjax.nn.gates import SUBLAYER
from slimjax.trees import axis_names, flatten, unflatten


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
    shapes = {p: g.shape for p, g in flatten(nn.meta.unbox(boxed["gates"])).items()}
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
    return gates


def make_variables(config: ModelConfig, seed: int = 0) -> tuple[dict, dict]:
    """Returns variables with weights that are all random, and the names of their axes."""
    tokens = np.zeros((1, 2), np.int32)
    variables = nn.meta.unbox(Decoder(config).init(jax.random.key(seed), tokens))
    leaves, source = flatten(variables["params"]), np.random.default_rng(seed)
    noisy = {
        path: leaf + 0.1 * source.standard_normal(leaf.shape).astype(np.float32)
        for path, leaf in leaves.items()
    }
    variables = {"params": unflatten(noisy), "gates": variables.get("gates", {})}
    return variables, axis_names(abstract_variables(config))
