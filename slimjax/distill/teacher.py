"""A teacher: a model with frozen weights, and what its forward pass costs."""

import dataclasses
from collections.abc import Mapping

from slimjax.models.config import ModelConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.store.weights import StoredModel


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher(StoredModel):
    """A frozen model; its file is exact, so that a run that goes on reads the same."""

    def flops_per_target(self, lengths: Mapping[str, int]) -> float:
        """Returns the FLOPs of its forward pass for one target."""
        return flops_per_target(self.model, lengths)


def flops_per_target(model: ModelConfig, lengths: Mapping[str, int]) -> float:
    """Returns the FLOPs of a model's forward pass, all its gates open.

    Args:
        model: The model.
        lengths: Positions of a row, by tower.
    """
    inventory = take_inventory(model.abstract_variables(), model.uses(lengths))
    return float(make_size_fn("flops", inventory)(inventory.open_gates()))
