"""The step with a teacher beside the data, whose weight may change with time."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax.distill.error import DistilledErrorFn
from slimjax.distill.teacher import Teacher
from slimjax.distill.together import MutualErrorFn
from slimjax.mesh.shardings import put, shardings
from slimjax.train.state import TrainState
from slimjax.trees import axis_names


def make_taught_step(
    strength: Callable[..., Any],
    error_fn: DistilledErrorFn,
    make_step: Callable[..., Any],
) -> Callable[[TrainState, PyTree, PyTree], Any]:
    """Returns (state, batch, teacher's variables) -> (state, metrics).

    Args:
        strength: From the step to the factor of the teacher's weights, 0 to 1.
        error_fn: See `slimjax.distill.make_distilled_error_fn`.
        make_step: Makes a step of an error function of (variables, batch, key).
    """

    def step(state: TrainState, batch: PyTree, taught_by: PyTree) -> Any:
        now = jnp.asarray(strength(state.step))
        error = lambda params, part, key: error_fn(params, part, taught_by, now, key)
        return make_step(error)(state, batch)

    return step


def make_mutual_step(
    strength: Callable[..., Any],
    error_fn: MutualErrorFn,
    make_step: Callable[..., Any],
) -> Callable[[TrainState, PyTree], Any]:
    """Returns (state, batch) -> (state, metrics) of two models that learn together.

    Args:
        strength: From the step to the factor of what they learn from each other.
        error_fn: See `slimjax.distill.together.make_mutual_error_fn`.
        make_step: Makes a step of an error function of (variables, batch, key).
    """

    def step(state: TrainState, batch: PyTree) -> Any:
        now = jnp.asarray(strength(state.step))
        error = lambda params, part, key: error_fn(params, part, now, key)
        return make_step(error)(state, batch)

    return step


def put_teacher(teacher: Teacher, mesh: Mesh) -> PyTree:
    """Places a teacher's weights and gates as those of any model lie."""
    names = axis_names(teacher.model.abstract_variables())
    return put(teacher.variables, shardings(teacher.variables, names, mesh))
