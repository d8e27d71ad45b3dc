"""How layers are called: the only file that knows.

The layers of the main tower stand at the root of a model's variables, those of another
tower under its name:

    layer_0/mlp/up        encoder/layer_3/attention/query
"""

import re
from typing import NamedTuple

Path = tuple[str, ...]

_LAYER = re.compile(r"layer_(\d+)")


class Place(NamedTuple):
    """Where a variable stands in a model.

    Attributes:
        tower: Name of the tower, empty for the main one.
        number: Number of the layer in it; None for what stands outside of layers.
        rest: The path inside the layer; outside of layers the whole path.
    """

    tower: str
    number: int | None
    rest: Path


def layer_name(number: int) -> str:
    """Returns the name of a layer's module.

    Examples:
        >>> layer_name(3)
        'layer_3'
    """
    return f"layer_{number}"


def layer_of(path: Path) -> Place:
    """Returns the tower and the number of the layer that a path leads into.

    Examples:
        >>> layer_of(("encoder", "layer_3", "mlp", "up"))
        Place(tower='encoder', number=3, rest=('mlp', 'up'))
        >>> layer_of(("tokens", "embedding"))
        Place(tower='', number=None, rest=('tokens', 'embedding'))
    """
    for depth, name in enumerate(path[:2]):
        found = _LAYER.fullmatch(name)
        if found:
            return Place("".join(path[:depth]), int(found[1]), path[depth + 1 :])
    return Place("", None, path)


def layer_module(path: Path) -> Path | None:
    """Returns the module of the layer that a path leads into; None outside of layers.

    Examples:
        >>> layer_module(("encoder", "layer_3", "mlp", "up"))
        ('encoder', 'layer_3')
    """
    place = layer_of(path)
    return None if place.number is None else path[: len(path) - len(place.rest)]
