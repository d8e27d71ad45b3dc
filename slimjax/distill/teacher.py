"""A teacher: a model with frozen weights, and what its forward pass costs."""

import dataclasses

from slimjax.models.config import ModelConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.store.weights import StoredModel


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher(StoredModel):
    """A frozen model; its file is exact, so that a run that goes on reads the same."""

    def flops_per_target(self, seq_len: int) -> float:
        """Returns the FLOPs of its forward pass for one target."""
        return flops_per_target(self.model, seq_len)


def flops_per_target(model: ModelConfig, seq_len: int) -> float:
    """Returns the FLOPs of a model's forward pass, all its gates open."""
    inventory = take_inventory(model.abstract_variables(), model.uses({"": seq_len}))
    return float(make_size_fn("flops", inventory)(inventory.open_gates()))
