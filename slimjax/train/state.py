"""All that changes during training."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import PyTree

from slimjax.models.config import ModelConfig


@struct.dataclass
class TrainState:
    """Arrays, and no functions: those are rebuilt from the config.

    There is no random key in it: whoever needs one folds the step number into the
    run's seed.
    """

    step: PyTree  # int32 []
    params: PyTree  # {"params": weights, "gates": gates}, and maps to a teacher.
    opt_state: PyTree
    ema: PyTree  # Average of the weights, or None.
    precision: PyTree = None  # Bits of the weights, or None for no rounding.
    health: PyTree = None  # What a loss is compared with, or None for nothing.

    @property
    def variables(self) -> PyTree:
        """What the model is applied with: weights, gates, and bits where there are."""
        if self.precision is None:
            return self.params
        return {**self.params, "precision": self.precision}


def init_params(config: ModelConfig, seed: int, places: PyTree = None) -> PyTree:
    """Returns fresh weights and open gates, made where `places` says, if it does."""

    def init(key: jax.Array) -> PyTree:
        return dict(nn.meta.unbox(config.init(key)))

    return jax.jit(init, out_shardings=places)(jax.random.key(seed))


def make_state(
    params: PyTree,
    tx: optax.GradientTransformation,
    *,
    ema: bool,
    precision: PyTree = None,
    health: PyTree = None,
) -> TrainState:
    """Returns the state of step 0."""
    average = jax.tree.map(jnp.copy, params["params"]) if ema else None
    step = jnp.zeros([], jnp.int32)
    opt_state = tx.init(params)
    return TrainState(step, params, opt_state, average, precision, health)
