"""alpha * Size + beta * Error: what is to be small.

`size` is the one walk that counts a model, in every measure, over an `inventory` of its
weights; `price` holds the Optax transformations that bring the price into the train
step. What is removed for it, `slimjax.budget` decides.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.objective.config import ObjectiveConfig as ObjectiveConfig
    from slimjax.objective.inventory import take_inventory as take_inventory
    from slimjax.objective.price import add_size_penalty as add_size_penalty
    from slimjax.objective.price import track_gate_moments as track_gate_moments
    from slimjax.objective.size import make_size_fn as make_size_fn

__getattr__ = exports(
    __name__,
    {
        "ObjectiveConfig": "config",
        "add_size_penalty": "price",
        "make_size_fn": "size",
        "take_inventory": "inventory",
        "track_gate_moments": "price",
    },
)
