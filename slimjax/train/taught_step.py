"""The step with a teacher beside the text, of whom less may be heard with time."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax.distill.error import DistilledErrorFn
from slimjax.distill.teacher import Teacher
from slimjax.mesh.shardings import put, shardings
from slimjax.models.decoder import abstract_variables
from slimjax.train.config import RunConfig
from slimjax.train.state import TrainState
from slimjax.trees import axis_names


def make_taught_step(
    run: RunConfig, error_fn: DistilledErrorFn, make_step: Callable[..., Any]
) -> Callable[[TrainState, PyTree, PyTree], Any]:
    """Returns (state, batch, teacher's variables) -> (state, metrics).

    Args:
        run: Says how strong the teacher is, by step.
        error_fn: See `slimjax.distill.make_distilled_error_fn`.
        make_step: Makes a step of an error function of (variables, batch).
    """
    strength = run.distill.strength(run.train.num_steps)

    def step(state: TrainState, batch: PyTree, taught_by: PyTree) -> Any:
        now = jnp.asarray(strength(state.step))
        error = lambda params, part: error_fn(params, part, taught_by, now)
        return make_step(error)(state, batch)

    return step


def put_teacher(teacher: Teacher, mesh: Mesh) -> PyTree:
    """Places a teacher's weights and gates as those of any model lie."""
    names = axis_names(abstract_variables(teacher.model))
    return put(teacher.variables, shardings(teacher.variables, names, mesh))
