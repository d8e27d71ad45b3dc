"""The second model of two that learn together: its weights among those of a run.

They stand in a collection of their own, by dotted names: ``{"peer": {"layer_0.mlp.up":
[D F], ...}}``. So nothing that knows the student's layers, such as cuts and loops over
layers, takes them for those. Its gates are open, and no part of the state.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from slimjax.models.config import ModelConfig
from slimjax.trees import axis_names, flatten, unflatten

PEER = "peer"
"""Name of the collection, beside ``params`` and ``gates``."""


def peer_names(model: ModelConfig) -> PyTree:
    """Returns the names of the axes of the second model's weights."""
    return _dotted(axis_names(model.abstract_variables())["params"])


def init_peer(model: ModelConfig, seed: int) -> PyTree:
    """Returns fresh weights, other ones than those of the student of this seed."""
    key = jax.random.fold_in(jax.random.key(seed), 1)
    init = lambda key: nn.meta.unbox(model.init(key))["params"]
    return _dotted(jax.jit(init)(key))


def peer_variables(model: ModelConfig, weights: PyTree) -> PyTree:
    """Returns what the second model is applied with: its weights and open gates."""
    nested = {tuple(name.split(".")): leaf for name, leaf in weights.items()}
    shapes = nn.meta.unbox(model.abstract_variables())["gates"]
    gates = jax.tree.map(lambda gate: jnp.ones(gate.shape, gate.dtype), shapes)
    return {"params": unflatten(nested), "gates": gates}


def _dotted(tree: PyTree) -> PyTree:
    return {".".join(path): leaf for path, leaf in flatten(tree).items()}
