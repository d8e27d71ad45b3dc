"""Layers of all towers in one list, and the kinds of layer that a run removed.

``architecture.json`` is a list of layers, or for models of other shapes an object,
``{"towers": {NAME: {"width": 8, "layers": [...]}}}``. Here both become one list; each
layer of a named tower keeps the name as ``tower``, and its number as ``index``.
"""

from itertools import pairwise
from typing import Any, NamedTuple

from slimjax.report.quantities import number

Json = dict[str, Any]

KINDS = {"attention": "num_heads", "cross": "cross_heads", "mlp": "mlp_dim"}
KINDS |= {"recurrent": "state_dim"}
"""Kinds of sublayers, and what counts their units."""

WORDS = {"attention": "self-attention", "cross": "cross-attention", "mlp": "MLP"}
WORDS |= {"recurrent": "recurrent layer"}
WIDTH = "width"


class Row(NamedTuple):
    """The units of one layer over the stages, in order.

    Attributes:
        label: Its name in figures, such as ``3`` or ``encoder 3``.
        heads: Attention heads; empty where the row has no place for them.
        hidden: Hidden units of the MLP; empty where the row has no place for them.
    """

    label: str
    heads: list[float]
    hidden: list[float]


def read_layers(content: Any) -> list[Json]:
    """Returns the layers of an architecture, of all towers.

    Examples:
        >>> read_layers([{"num_heads": 2}])
        [{'num_heads': 2, 'index': 0}]
        >>> read_layers({"towers": {"encoder": {"layers": [{"mlp_dim": 4}]}}})
        [{'mlp_dim': 4, 'tower': 'encoder', 'index': 0}]
        >>> read_layers({"towers": {"image": {"width": 8, "filters": [6]}}})
        [{'mlp_dim': 6, 'tower': 'image filters', 'index': 0}]
    """
    if isinstance(content, list):
        return _number(content, "")
    towers = content.get("towers") if isinstance(content, dict) else None
    layers = []
    for name, tower in towers.items() if isinstance(towers, dict) else ():
        tower = tower if isinstance(tower, dict) else {}
        own, filters = _number(tower.get("layers"), str(name)), _filters(tower, name)
        width = number(tower, WIDTH)
        if not (own or filters or name) and width is not None:  # A plain perceptron.
            own = [{"mlp_dim": width, "tower": "hidden", "index": 0}]
        layers += filters + own
    return layers


def _filters(tower: Json, name: str) -> list[Json]:
    """Returns the stages of a convolution, whose filters are shown as hidden units."""
    found = tower.get("filters")
    counts = found if isinstance(found, list) else []
    label, bits = f"{name} filters".strip(), tower.get("bits")
    bits = bits if isinstance(bits, dict) else {}
    rows = []
    for index, count in enumerate(counts):
        own = bits.get(f"filters_{index}")
        known = {"bits": {"mlp": own}} if own is not None else {}
        rows.append({"mlp_dim": count, "tower": label, "index": index} | known)
    return rows


def count_units(layer: Json, kind: str, name: str = "") -> float:
    """Returns the units of a kind of sublayer; 0 where it was removed or never was.

    Args:
        layer: The layer.
        kind: One of `KINDS`.
        name: What counts them, if not what `KINDS` says.
    """
    if layer.get(kind) is False:
        return 0.0
    return number(layer, name or KINDS[kind]) or 0.0


def label_of(layer: Json) -> str:
    """Returns a layer's name in figures, such as ``3`` or ``encoder 3``."""
    tower, number = _key(layer)
    return f"{tower} {number}".strip()


def list_rows(history: list[list[Json]]) -> list[Row]:
    """Returns a row for each layer, and one more for its cross-attention, if any.

    Args:
        history: The layers of each stage.
    """
    keys: dict[tuple[str, int], None] = {}
    stages = [{_key(layer): layer for layer in layers} for layers in history]
    for layers in stages:
        keys |= dict.fromkeys(layers)
    rows = []
    for key in keys:
        own = [layers.get(key, {}) for layers in stages]
        heads, cross, hidden, states = (
            [count_units(layer, kind) for layer in own] for kind in KINDS
        )
        label = label_of(own[0] or own[-1])
        has_heads = any("num_heads" in layer for layer in own)
        rows.append(Row(label, heads if has_heads else [], hidden))
        if any(cross):
            rows.append(Row("cross", cross, []))
        if any(states):
            rows.append(Row("state", states, []))
    return rows


def describe_removed_kinds(history: list[list[Json]], steps: list[float]) -> list[str]:
    """Returns a sentence for each kind of sublayer that a tower lost as a whole.

    Args:
        history: The layers of each stage, or of start and end.
        steps: The steps of the seams between the stages, if all are known.

    Examples:
        >>> both = {"num_heads": 4, "mlp_dim": 8}
        >>> after = both | {"attention": False}
        >>> describe_removed_kinds([[both], [after]], [320.0])
        ['Seam 1 (step 320) removed the last self-attention of the model.']
    """
    sentences = []
    for index, (before, after) in enumerate(pairwise(history)):
        is_known = len(steps) == len(history) - 1
        who = f"Seam {index + 1} (step {steps[index]:,.0f})" if is_known else "The run"
        lost = _kinds_of(before).keys() - _kinds_of(after).keys()
        for tower, kind in (pair for pair in _kinds_of(before) if pair in lost):
            where = f"the tower {tower}" if tower else "the model"
            sentences.append(f"{who} removed the last {WORDS[kind]} of {where}.")
    return sentences


def _number(layers: Any, tower: str) -> list[Json]:
    layers = layers if isinstance(layers, list) else []
    name = {"tower": tower} if tower else {}
    known = [layer for layer in layers if isinstance(layer, dict)]
    return [layer | name | {"index": index} for index, layer in enumerate(known)]


def _key(layer: Json) -> tuple[str, int]:
    return str(layer.get("tower") or ""), int(number(layer, "index") or 0)


def _kinds_of(layers: list[Json]) -> dict[tuple[str, str], None]:
    """Returns each tower with each kind that it has units of."""
    return {
        (_key(layer)[0], kind): None
        for layer in layers
        for kind in KINDS
        if count_units(layer, kind)
    }
