"""How other methods choose units, from the same statistics as ours.

Each function returns a score for every unit of the gates ``kv_heads`` and ``mlp``, the
least useful first. A unit is a column of gate and up with its row of down, or a group
of heads with its key and value.
"""

from collections.abc import Mapping

import jax
import numpy as np

from slimjax.compress.curves import GROUPS, Curve
from slimjax.compress.moments import Moments
from slimjax.compress.rows import Rows
from slimjax.compress.slimming import Material
from slimjax.compress.walk import WRITERS, Walk
from slimjax.nn.quantize import to_rows
from slimjax.objective.size import make_size_fn, unit_sizes
from slimjax.trees import Path

Scores = dict[Path, np.ndarray]
Gates = dict[Path, np.ndarray]


def gates_of(material: Material) -> list[Path]:
    """Returns the gates whose units are scored."""
    is_scored = lambda path: len(path) > 1 and path[-1] == GROUPS.get(path[-2])
    return sorted(filter(is_scored, material.inventory.gates))


def magnitudes(material: Material, moments: Moments) -> Scores:
    """Returns the mean square of all weights of each unit."""
    del moments
    found: Scores = {}
    for gate in gates_of(material):
        num_units, sums, count = len(material.inventory.open_gates()[gate]), 0.0, 0
        for leaf in material.inventory.leaves:
            axes = [axis for axis in ("mlp", "heads", "kv_heads") if axis in leaf.axes]
            if leaf.path[:-1] != gate[:-1] or not axes:
                continue
            rows = to_rows(material.weights[leaf.path], leaf.axes.index(axes[0]))
            rows = rows.reshape(num_units, -1)
            sums, count = sums + (rows**2).sum(1), count + rows.shape[1]
        found[gate] = np.asarray(sums) / count
    return found


def wanda(material: Material, moments: Moments) -> Scores:
    """Returns the mean of ``|W_ij| sqrt(E[x_i^2])`` over what each unit writes.

    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models",
    2024, in the structured form of An et al., 2024.
    """

    def score(weight, moment, mean):
        del mean
        return np.abs(weight).mean(1) * np.sqrt(np.diag(moment))

    return _score_writers(material, moments, score)


def flap(material: Material, moments: Moments) -> Scores:
    """Returns ``var(x_i) |W_i|^2``, standardised within each sublayer.

    An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language
    Models", 2024, equations 5 to 7.
    """

    def score(weight, moment, mean):
        return (np.diag(moment) - mean**2) * (weight**2).sum(1)

    return standardise(_score_writers(material, moments, score))


def _score_writers(material: Material, moments: Moments, score) -> Scores:
    found = {}
    for gate in gates_of(material):
        path = (*gate[:-1], WRITERS[gate[-2]])
        weight = material.weights[path].reshape(-1, material.weights[path].shape[-1])
        own = score(weight, moments.inputs[path], moments.means[path])
        num_units = len(material.inventory.open_gates()[gate])
        found[gate] = own.reshape(num_units, -1).mean(1)
    return found


def standardise(scores: Scores) -> Scores:
    """Returns scores with mean 0 and deviation 1 in each sublayer."""
    return {p: (s - s.mean()) / (s.std() + 1e-12) for p, s in scores.items()}


def close_least(material: Material, scores: Scores, budget: float) -> Gates:
    """Returns gates that close the units of least score, in the whole model.

    The best unit of each sublayer stays.

    Args:
        material: The model.
        scores: Those of its units, comparable between sublayers.
        budget: Most parameters that are left.
    """
    rest = {gate: np.argsort(own, kind="stable")[:-1] for gate, own in scores.items()}
    ranked = sorted(
        (float(scores[gate][unit]), gate, int(unit))
        for gate, units in rest.items()
        for unit in units
    )
    sizes = _unit_sizes(material)
    left = material.sizes()["params"] - np.cumsum([sizes[g] for _, g, _ in ranked])
    count = int(np.argmax(left <= budget)) + 1
    assert left[count - 1] <= budget, "the budget is below the least model"
    return close(material, [(gate, unit) for _, gate, unit in ranked[:count]])


def close_alike(material: Material, scores: Scores, budget: float) -> Gates:
    """Returns gates that close the same number of MLP units in each layer."""
    own = {gate: s for gate, s in scores.items() if gate[-1] == "mlp"}
    each = sum(_unit_sizes(material)[gate] for gate in own)
    count = int(np.ceil((material.sizes()["params"] - budget) / each))
    units = {gate: np.argsort(s, kind="stable")[:count] for gate, s in own.items()}
    return close(material, [(gate, int(u)) for gate in units for u in units[gate]])


def _unit_sizes(material: Material) -> dict[Path, float]:
    gates = material.inventory.open_gates()
    size_fn = make_size_fn("params", material.inventory)
    chosen = {gate: gates[gate] for gate in gates_of(material)}
    return {
        path: float(size)
        for path, size in unit_sizes(
            lambda own: size_fn({**gates, **own}), chosen
        ).items()
    }


def close(material: Material, units: list[tuple[Path, int]]) -> Gates:
    """Returns all gates, some units closed."""
    gates, chosen = material.inventory.open_gates(), {}
    for gate, unit in units:
        chosen.setdefault(gate, []).append(unit)
    for gate, own in chosen.items():
        is_whole = np.array([len(own) == len(gates[gate])])
        curve = Curve(gate, (np.array(own),), np.zeros(1), is_whole)
        gates |= curve.patch(0, gates)
    return gates


def influences(
    walk: Walk, variables: Mapping, rows: Rows
) -> np.ndarray:  # [num_layers]
    """Returns ``1 - E[cos(x_before, x_after)]`` of each layer, its block influence.

    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You
    Expect", 2024, equation 1.
    """
    streams, found = walk.begin(variables, rows), []
    for place in walk.places():
        step, layer = jax.jit(walk.reader(place)), walk.layer(variables, place)
        cosines, values = [], []
        for x, context in zip(streams.values, streams.contexts, strict=True):
            after = np.asarray(step(layer, x, context)[0])
            before = np.asarray(x)
            lengths = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
            cosines.append((before * after).sum(-1) / lengths)
            values.append(after)
        found.append(1 - np.mean(np.concatenate(cosines)))
        streams = streams._replace(values=values)
    return np.array(found)


def close_layers(material: Material, order: np.ndarray, budget: float) -> Gates:
    """Returns gates that close whole layers, in an order, until a budget is met."""
    size_fn, units = make_size_fn("params", material.inventory), []
    for number in order:
        own = [g for g in gates_of(material) if g[0] == f"layer_{number}"]
        lengths = material.inventory.open_gates()
        units += [(gate, unit) for gate in own for unit in range(len(lengths[gate]))]
        gates = close(material, units)
        if size_fn(gates) <= budget:
            return gates
    raise AssertionError("the budget is below the least model")
