"""A cut model that is refitted beside its original."""

from collections.abc import Collection
from typing import Any

from jaxtyping import PyTree

from slimjax.compress.levels import Levels
from slimjax.compress.rows import Rows, Streams
from slimjax.compress.walk import Place, Walk, inside
from slimjax.trees import Path


class Side:
    """A cut model beside the original: its weights are changed in place.

    Attributes:
        walk: The cut model.
        variables: Its variables, nested dicts of host arrays.
        rounder: What rounds weights; None where nothing is rounded.
        gone: Modules that write nothing, as if they were not there.
        streams: Its residual stream at the place that was reached.
        ends: The last streams of towers that were gone through, by name.
    """

    def __init__(
        self,
        walk: Walk,
        variables: PyTree,
        rounder: Levels | None = None,
        gone: Collection[Path] = (),
    ):
        """Takes the cut model."""
        self.walk, self.variables, self.rounder = walk, variables, rounder
        self.gone = gone
        self.streams: Streams | None = None
        self.ends: dict[str, Streams] = {}

    def params(self, place: Place, name: str) -> dict[str, Any]:
        """Returns the weights of a sublayer."""
        return inside(self.variables["params"], (*place.path, name))

    def layer(self, place: Place) -> PyTree:
        """Returns the variables of a layer, on the device."""
        return self.walk.layer(self.variables, place)

    def has(self, place: Place, name: str) -> bool:
        """Whether a sublayer is left."""
        is_gone = (*place.path, name) in self.gone
        return not is_gone and name in self.walk.sublayers(place)

    def begin(
        self, rows: Rows, tower: str, streams: Streams, *, is_alike: bool
    ) -> None:
        """Takes up the stream of a tower.

        Args:
            rows: What is read.
            tower: Name of the tower.
            streams: The original's stream there.
            is_alike: Whether all that the tower reads is the original's.
        """
        if is_alike and self.rounder is None:
            self.streams = streams
        else:
            self.streams = self.walk.begin(self.variables, rows, tower, self.ends)
