"""Learning rates that fall with the distance from the heads."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.models.config import ModelConfig

Rates = Callable[[PyTree], PyTree]
"""From a tree of weights to factors on their rates, which broadcast to them."""


def make_layer_rates(model: ModelConfig, decay: float) -> Rates | None:
    """Returns the factors ``decay^distance`` of weights; None where all are 1.

    Args:
        model: Knows how far each weight is from the heads.
        decay: The factor of one layer, in (0, 1].

    References:
        Howard and Ruder, "Universal Language Model Fine-tuning", 2018, section 3.2.
        Clark et al., "ELECTRA", 2020, appendix B.
    """
    if decay == 1:
        return None

    def factor(keys: tuple, weight: Any) -> np.ndarray:
        names = tuple(str(getattr(key, "key", "")) for key in keys)
        distance = model.distance_to_heads(names[1:])  # Without the collection.
        rates = np.asarray(np.float32(decay) ** distance.astype(np.float32))
        others = range(rates.ndim, weight.ndim)
        return np.expand_dims(rates, tuple(others)) if rates.ndim else rates

    return lambda weights: jax.tree_util.tree_map_with_path(factor, weights)


def scale_by_layer(
    inner: optax.GradientTransformation, rates: Rates | None
) -> optax.GradientTransformation:
    """Multiplies an optimizer's updates by the factors of layers.

    The state is that of `inner`.
    """
    if rates is None:
        return inner

    def update(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        updates, state = inner.update(updates, state, params)
        return jax.tree.map(lambda u, rate: u * rate, updates, rates(updates)), state

    return optax.GradientTransformation(inner.init, update)
