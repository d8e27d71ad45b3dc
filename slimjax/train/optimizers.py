"""The optimizers of the weights, by name.

Each is a chain of Optax: the curvature where it must be kept, clipping, ``l2``, the
optimizer's own scaling, decoupled decay, the learning rate, and ``l1`` at the end.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from slimjax.mesh.layout import is_stacked
from slimjax.nn.axes import ONE_ROW
from slimjax.objective.curvature import track_curvature
from slimjax.train.adafactor import scale_by_adafactor
from slimjax.train.adamw import adamw
from slimjax.train.layer_rates import Rates, scale_by_layer
from slimjax.train.optim_config import ADAMS, OptimConfig

SCALINGS: Mapping[str, Callable[[OptimConfig], optax.GradientTransformation]] = {
    "sgd": lambda _: optax.identity(),
    "momentum": lambda config: optax.trace(config.trace_decay, config.nesterov),
    "adafactor": lambda _: scale_by_adafactor(),
    "lion": lambda config: optax.scale_by_lion(config.beta1, config.beta2),
}


def make_optimizer(
    config: OptimConfig,
    rate: optax.Schedule,
    *,
    keeps_curvature: bool = False,
    layer_rates: Rates | None = None,
) -> optax.GradientTransformation:
    """Builds the optimizer that ``config.name`` names.

    Clipping comes before ``l2``: a closed unit has no gradient, but its weights have a
    norm, which must not shorten the steps of others.

    Args:
        config: The config block.
        rate: Learning rate by step.
        keeps_curvature: Whether the mean square of each weight's gradient is needed,
            so that optimizers without one keep it beside their own state.
        layer_rates: Factors on the rate of each weight; None for none.

    References:
        Rumelhart, Hinton and Williams, "Learning representations by back-propagating
        errors", 1986, equation 9 (momentum).
        Sutskever et al., "On the importance of initialization and momentum in deep
        learning", 2013, section 2 (Nesterov's; here at the point that it looks from).
        Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023 (lion).

    Examples:
        Momentum is ``v = mu v + g; w = w - lr v``. With mu = 0.5, lr = 0.1, w = 1 and
        g = 2 twice, v is 2 and 3, and w is 1 - 0.2 - 0.3. Nesterov's steps are
        ``w = w - lr (g + mu v)``: 1 - 0.3 - 0.35.

        >>> def walk(**options):
        ...     config = OptimConfig(
        ...         "momentum", momentum=0.5, weight_decay=0.0, clip_norm=0.0, **options
        ...     )
        ...     tx = make_optimizer(config, optax.constant_schedule(0.1))
        ...     w, state = jnp.array([1.0]), tx.init(jnp.array([1.0]))
        ...     for g in (jnp.array([2.0]), jnp.array([2.0])):
        ...         updates, state = tx.update(g, state, w)
        ...         w = optax.apply_updates(w, updates)
        ...     return round(float(w[0]), 6)
        >>> walk(), walk(nesterov=True)
        (0.5, 0.35)
    """
    is_adam, links = config.name in ADAMS, []
    if keeps_curvature and not is_adam:
        links.append(track_curvature(config.beta2))
    if config.clip_norm and (config.l2 or not is_adam):
        links.append(optax.clip_by_global_norm(config.clip_norm))
    if config.l2:
        links.append(optax.add_decayed_weights(config.l2, mask=are_matrices))
    links += [_adam(config, rate)] if is_adam else _scaled(config, rate)
    links[-1] = scale_by_layer(links[-1], layer_rates)
    if config.l1:
        links.append(soft_threshold(rate, config.l1, are_matrices, layer_rates))
    return links[0] if len(links) == 1 else optax.chain(*links)


def _adam(config: OptimConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    return adamw(
        rate,
        beta1=config.beta1,
        beta2=config.beta2,
        weight_decay=config.weight_decay if config.name == "adamw" else 0.0,
        clip_norm=0.0 if config.l2 else config.clip_norm,
        decays=are_matrices,
    )


def _scaled(
    config: OptimConfig, rate: optax.Schedule
) -> list[optax.GradientTransformation]:
    decay = optax.add_decayed_weights(config.weight_decay, mask=are_matrices)
    return [
        SCALINGS[config.name](config),
        *([decay] if config.weight_decay else []),
        optax.scale_by_learning_rate(rate),
    ]


def soft_threshold(
    rate: optax.Schedule,
    l1: float,
    mask: Callable[[PyTree], PyTree],
    layer_rates: Rates | None = None,
) -> optax.GradientTransformation:
    """Moves weights towards 0 after the step, and leaves them there: exact zeros.

    The proximal step of ``l1 * sum |w|``: ``w = sign(w) max(|w| - rate * l1, 0)`` of
    the weight that the step arrives at. Goes last in a chain.

    Args:
        rate: Learning rate by step.
        l1: Weight of the sum of absolute values.
        mask: Map from weights to whether they are penalised.
        layer_rates: Factors on the rate of each weight; None for none.

    References:
        Parikh and Boyd, "Proximal Algorithms", 2014, section 6.5.2.

    Examples:
        >>> tx = soft_threshold(optax.constant_schedule(0.1), 2.0, are_matrices)
        >>> weight, step = jnp.array([[1.0, 0.4]]), jnp.array([[-0.5, -0.3]])
        >>> update, _ = tx.update(step, tx.init(weight), weight)
        >>> optax.apply_updates(weight, update).round(6)
        Array([[0.3, 0. ]], dtype=float32)
    """

    def init_fn(params: PyTree) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None):
        if params is None:
            raise ValueError("soft_threshold needs params: tx.update(g, state, params)")
        width = jnp.asarray(rate(state.count)) * l1

        def shrink(update, weight, is_penalised, factor=None):
            own = width if factor is None else width * factor
            moved = weight + update
            near = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - own, 0.0)
            return near - weight if is_penalised else update

        factors = [] if layer_rates is None else [layer_rates(params)]
        updates = jax.tree.map(shrink, updates, params, mask(params), *factors)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, optax.ScaleByScheduleState(count)

    return optax.GradientTransformation(init_fn, update_fn)


def are_matrices(params: PyTree) -> PyTree:
    """Returns True for weights with two axes or more in their layer: no norms.

    Biases and scales of norms are no matrices, whatever shape they are stored in; nor
    are sinusoids, which no penalty may change.

    Examples:
        >>> weight, row = jnp.ones((2, 3)), jnp.ones((1, 3))
        >>> are_matrices({"norm": {"scale": row}, "up": weight, "up_bias": row})
        {'norm': {'scale': False}, 'up': True, 'up_bias': False}
    """

    def is_matrix(keys: tuple, weight: Any) -> bool:
        name = str(getattr(keys[-1], "key", "")) if keys else ""
        is_learned = not name.endswith((*ONE_ROW, "sinusoids"))
        return weight.ndim - is_stacked(keys) > 1 and is_learned

    return jax.tree_util.tree_map_with_path(is_matrix, params)
