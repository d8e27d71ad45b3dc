"""A table of latencies that comes nearest to what whole models took."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from slimjax.models.config import ModelConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import make_latency_fn
from slimjax.objective.latency_table import KNOTS, LatencyTable
from slimjax.run.latency_models import num_weights

WHOLE_COUNTS = 3.0
"""What the whole model counts in the fit: all that is slim is compared with it."""


def empty_table(models: Sequence[ModelConfig]) -> LatencyTable:
    """Returns a table of no times, with the knots for some models, the largest first.

    Times are nearly linear in widths and heads; small MLPs and caches have knees.
    """
    whole = models[0]
    attention = [layer for layer in whole.layers if layer.attention]
    kv_heads = max((layer.num_kv_heads for layer in attention), default=1)
    groups = (layer.num_heads // layer.num_kv_heads for layer in attention)
    units = max((layer.mlp_dim for layer in whole.layers if layer.mlp), default=1)
    weights = whole.width * (whole.vocab_size + sum(map(num_weights, whole.layers)))
    narrower = any(model.width < whole.width for model in models)
    knots: dict[str, Any] = {
        "widths": {0, whole.width} if narrower else {whole.width},
        "kv_heads": {0, kv_heads},
        "group": {1, max(groups, default=1)},
        "units": {0, units // 4, units},
        "weights": {weights * part // 4 for part in range(5)},
    }
    knots = {name: tuple(sorted(own)) for name, own in knots.items()}
    shapes = {k: [len(knots[axis]) for axis in axes] for k, axes in KNOTS.items()}
    times = {name: _plain(np.zeros(shape)) for name, shape in shapes.items()}
    return LatencyTable(
        vocab_size=whole.vocab_size,
        head_dim=max((layer.head_dim for layer in whole.layers), default=0),
        device=jax.devices()[0].device_kind,
        **knots,
        **times,
    )


def fit_table(
    empty: LatencyTable, models: Sequence[ModelConfig], times: Sequence[float]
) -> LatencyTable:
    """Returns the table that comes nearest to the times of models, in proportion.

    It is a sum of `steps`, each so many times as suits best, and none less than not at
    all; the measure is linear in the table, so what a step adds is what a table of it
    alone says.

    Args:
        empty: The knots.
        models: Those that were timed, the first being the one to compare others with.
        times: Seconds a token that each of them took.

    References:
        Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23.
    """
    from scipy.optimize import nnls

    parts = list(steps(empty))
    told = np.array([_seconds(model, parts) for model in models])
    scale = 1.0 / np.array(times)
    scale[0] *= WHOLE_COUNTS
    amounts, _ = nnls(told * scale[:, None], times * scale)
    added = lambda name: [
        amount * np.array(getattr(part, name))
        for amount, part in zip(amounts, parts, strict=True)
    ]
    found = {name: _plain(sum(added(name))) for name in KNOTS}
    off = told @ amounts / times - 1.0
    return replace(empty, error=float(np.sqrt(np.mean(off**2))), **found)


def steps(empty: LatencyTable) -> Iterator[LatencyTable]:
    """Yields tables that are 1 from some knot on along each axis, and 0 elsewhere.

    What spills has slopes instead: from some knot on, each weight more adds as much.
    """
    for name in ("base", "attention", "mlp"):
        zeros = np.zeros(np.shape(getattr(empty, name)))
        for index in np.ndindex(zeros.shape):
            step = zeros.copy()
            step[tuple(slice(i, None) for i in index)] = 1.0
            yield replace(empty, **{name: _plain(step)})
    parts = np.array(empty.weights) / empty.weights[-1]
    for knot in parts[1:-1]:
        yield replace(empty, spill=_plain(np.maximum(parts - knot, 0.0)))


def _seconds(model: ModelConfig, tables: Sequence[LatencyTable]) -> list[float]:
    """Returns what each of some tables says of a model."""
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 1}))
    opened = inventory.open_gates()
    return [float(make_latency_fn(inventory, table)(opened)) for table in tables]


def _plain(times: Any) -> Any:
    """Returns an array as tuples of tuples."""
    plain = lambda x: tuple(map(plain, x)) if isinstance(x, list) else x
    return plain(np.asarray(times).tolist())
