"""Second moments of what the weights that write to the residual stream read."""

from collections.abc import Callable

from jaxtyping import PyTree

from slimjax.models.config import ModelConfig
from slimjax.nn.moments import MOMENTS
from slimjax.tasks.base import Task


def make_moments_fn(
    task: Task, model: ModelConfig
) -> Callable[[PyTree, PyTree], PyTree]:
    """Returns the function from (variables, batch) to `slimjax.nn.moments`."""
    network = model.module()

    def moments_fn(variables: PyTree, batch: PyTree) -> PyTree:
        inputs = task.inputs(batch, None)
        return network.apply(variables, inputs, mutable=[MOMENTS])[1].get(MOMENTS, {})

    return moments_fn
