"""Ragged layers, padded with zeros to one shape, for software with uniform layers.

What is added writes nothing: zero heads and hidden units, and whole sublayers of them.
The width is the same in all layers, and stays. In models with norms behind sublayers,
the norm of a removed sublayer is still there, and stays too.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from flax import linen as nn

from slimjax.errors import ConfigError
from slimjax.interop.exporting import Weighed
from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name, layer_of
from slimjax.models.tower_config import TowerConfig
from slimjax.trees import Path, axis_names, flatten

Spots = Mapping[str, np.ndarray]
"""Where the units of a layer are put, by the name of their axis."""

RELATIVE = ("attention", "relative", "table")


@dataclasses.dataclass(frozen=True)
class Heads:
    """Query heads and KV heads of all layers of a padded model.

    Attributes:
        num_heads: Query heads, N.
        num_kv_heads: KV heads, K.
    """

    num_heads: int
    num_kv_heads: int

    def spots(self, num_heads: int, num_kv_heads: int) -> dict[str, np.ndarray]:
        """Returns where the heads of a layer are put.

        Examples:
            >>> Heads(6, 2).spots(4, 2)["heads"]
            array([0, 1, 3, 4])
        """
        each = self.num_heads // self.num_kv_heads
        own = num_heads // max(num_kv_heads, 1)
        numbers = np.arange(num_heads)
        heads = numbers // max(own, 1) * each + numbers % max(own, 1)
        return {"heads": heads, "kv_heads": np.arange(num_kv_heads)}


def pad(weighed: Weighed, multiple: int = 1) -> Weighed:
    """Returns a model with uniform layers that computes the same.

    Args:
        weighed: The model.
        multiple: The hidden width of the MLPs becomes a multiple of this.

    Raises:
        ConfigError: If no number of heads fits the width.
    """
    model = weighed.model
    columns = {tower.name: _columns(tower, weighed) for tower in model.towers}
    heads = _choose_heads(model, max(map(len, columns.values())))
    most = max([layer.mlp_dim for layer in _layers(model) if layer.mlp], default=1)
    mlp_dim = -(-most // multiple) * multiple
    towers = tuple(_pad_tower(tower, heads, mlp_dim) for tower in model.towers)
    padded = dataclasses.replace(model, towers=towers)
    return dataclasses.replace(
        weighed, model=padded, read=_reader(weighed, padded, heads, columns)
    )


def _layers(model: ModelConfig) -> Iterator[LayerConfig]:
    for tower in model.towers:
        yield from tower.layers


def _choose_heads(model: ModelConfig, least: int) -> Heads:
    """Returns heads for all layers.

    Raises:
        ConfigError: If none fit.
    """
    pairs = [(y.num_heads, y.num_kv_heads) for y in _layers(model) if y.attention]
    pairs += [(y.cross_heads, y.cross_kv_heads) for y in _layers(model) if y.cross]
    most = max([heads for heads, _ in pairs], default=1)
    groups = max([kv for _, kv in pairs], default=1)
    each = max([heads // kv for heads, kv in pairs], default=1)
    positions, width = model.main.style.positions, model.width
    if positions == "relative":
        return Heads(max(most, least), max(most, least))
    if positions == "learned":
        return _fill_width(model, most)
    # The class of Llama wants a width that is a multiple of its query heads.
    fitting = [
        Heads(kv * n, kv)
        for kv in range(groups, width + 1)
        for n in range(each, width // kv + 1)
        if width % (kv * n) == 0
    ]
    if not fitting:
        raise ConfigError(
            f"--format=hf-padded: no multiple of {groups} KV heads divides the width "
            f"{width}. Cut with config.resize.multiple, or take --format=gguf."
        )
    return min(fitting, key=lambda heads: (heads.num_heads, heads.num_kv_heads))


def _fill_width(model: ModelConfig, most: int) -> Heads:
    """Returns as many heads as fill the width, as GPT-2 and BERT have them."""
    dims = {layer.head_dim for layer in model.layers if layer.attention}
    head_dim = dims.pop() if len(dims) == 1 else model.width
    if dims or model.width % head_dim or model.width // head_dim < most:
        raise ConfigError(
            f"--format=hf-padded: heads of width {head_dim} do not fill the width "
            f"{model.width}, and classes of GPT-2 and BERT want that."
        )
    return Heads(model.width // head_dim, model.width // head_dim)


def _pad_tower(tower: TowerConfig, heads: Heads, mlp_dim: int) -> TowerConfig:
    own = dataclasses.asdict(heads) | dict(mlp_dim=mlp_dim, attention=True, mlp=True)
    if tower.memory is not None:
        own |= dict(cross_heads=heads.num_heads, cross_kv_heads=heads.num_kv_heads)
    if tower.style.positions == "learned":
        own["head_dim"] = tower.width // heads.num_heads
    layers = tuple(dataclasses.replace(layer, **own) for layer in tower.layers)
    return dataclasses.replace(tower, layers=layers)


def _reader(
    weighed: Weighed,
    padded: ModelConfig,
    heads: Heads,
    columns: Mapping[str, list[bytes]],
):
    boxed = padded.abstract_variables()
    axes = flatten(axis_names(boxed)["params"])
    shapes = {p: x.shape for p, x in flatten(nn.meta.unbox(boxed)["params"]).items()}
    old = weighed.shapes

    def read(path: Path) -> np.ndarray:
        place = layer_of(path)
        if place.number is None:
            return weighed.read(path)
        tower = weighed.model.by_name[place.tower]
        if path[-3:] == RELATIVE:
            return _table(columns[place.tower], shapes[path])
        if path not in old:
            fill = 1.0 if path[-2:] == ("norm", "scale") else 0.0
            return np.full(shapes[path], fill, np.float32)
        spots = _spots(weighed, tower, place.number, heads, columns[place.tower])
        own = spots["cross" if place.rest[0] == "cross" else "attention"]
        own = {**own, "mlp": np.arange(tower.layers[place.number].mlp_dim)}
        return _scatter(weighed.read(path), shapes[path], axes[path], own)

    return read


def _scatter(
    weight: np.ndarray, shape: tuple[int, ...], axes: tuple[str, ...], spots: Spots
) -> np.ndarray:
    """Returns zeros with a weight at the spots of its units."""
    out = np.zeros(shape, np.float32)
    sizes = zip(axes, weight.shape, strict=True)
    out[np.ix_(*[spots.get(name, np.arange(n)) for name, n in sizes])] = weight
    return out


def _spots(
    weighed: Weighed,
    tower: TowerConfig,
    number: int,
    heads: Heads,
    columns: list[bytes],
) -> dict[str, Spots]:
    """Returns where heads of self-attention and of cross-attention are put."""
    layer = tower.layers[number]
    own = heads.spots(layer.num_heads, layer.num_kv_heads)
    if columns and layer.attention:
        at = _match(_own_columns(tower, number, weighed), columns)
        own = {"heads": at, "kv_heads": at}
    cross = heads.spots(layer.cross_heads, layer.cross_kv_heads)
    return {"attention": own, "cross": cross}


def _columns(tower: TowerConfig, weighed: Weighed) -> list[bytes]:
    """Returns the columns of a table of distances that serves all layers of a tower.

    Each layer finds those of its heads among them, each in a place of its own.
    """
    found: list[bytes] = []
    if tower.style.positions != "relative":
        return found
    for number, layer in enumerate(tower.layers):
        if not layer.attention:
            continue
        own = _own_columns(tower, number, weighed)
        for column in dict.fromkeys(own):
            found += [column] * (own.count(column) - found.count(column))
    return found


def _own_columns(tower: TowerConfig, number: int, weighed: Weighed) -> list[bytes]:
    inside = (tower.name,) if tower.name else ()
    table = weighed.read((*inside, layer_name(number), *RELATIVE))
    return [np.ascontiguousarray(column).tobytes() for column in table.T]


def _match(own: list[bytes], columns: list[bytes]) -> np.ndarray:
    """Returns a place for each column of a layer, none of them twice."""
    places: list[int] = []
    for column in own:
        free = (i for i, c in enumerate(columns) if c == column and i not in places)
        places.append(next(free))
    return np.array(places, int)


def _table(columns: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, np.float32)
    for place, column in enumerate(columns):
        out[:, place] = np.frombuffer(column, np.float32)
    return out
