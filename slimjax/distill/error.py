"""The error of a task with a teacher beside the data."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.distill.alignment import ALIGN, alignment_error, without_maps
from slimjax.distill.config import DistillConfig
from slimjax.distill.divergence import distilled_sums
from slimjax.distill.outcomes import Outcomes
from slimjax.distill.positions import position_sums
from slimjax.models.config import ModelConfig
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Targets, Task
from slimjax.tasks.error import Sums, split_key

DistilledErrorFn = Callable[..., tuple[Float[Array, ""], Sums]]
"""(variables, batch, teacher's variables, strength, key) -> (error, sums)."""


def make_distilled_error_fn(
    task: Task, student: ModelConfig, teacher: ModelConfig, config: DistillConfig
) -> DistilledErrorFn:
    """Returns (variables, batch, teacher's variables, strength, key) -> (error, sums).

    Variables may hold the maps of `slimjax.distill.alignment` beside weights and gates.
    The error is a mean in nats a target, and the sums are those of
    `slimjax.tasks.error.make_error_fn`: ``nats_sum`` is of the data alone. The
    strength, 0 to 1, is what the config's weights are multiplied by. With
    ``config.top_k`` the batch holds the teacher's outcomes, ``ids`` and ``logs``, and
    its variables are not read. The key is for the student alone.
    """
    dtype = jnp.dtype(student.dtype)
    losses = {head.name: head.loss for head in student.heads}
    student_net, read_teacher = student.module(), make_reader(student, teacher, config)

    def error_fn(
        variables: PyTree,
        batch: PyTree,
        taught_by: PyTree,
        strength: Array,
        key: Array | None = None,
    ) -> tuple[Array, Sums]:
        data_key, model_key = split_key(key)
        inputs = task.inputs(batch, data_key)
        targets = task.targets(batch, data_key)
        own = without_maps(variables)
        outputs: Any = student_net.apply(own, inputs, model_key, method="outputs")
        readouts, streams = outputs
        teacher_outputs, teacher_streams = read_teacher(batch, inputs, taught_by)
        options: dict[str, Any] = dict(temperature=config.temperature, dtype=dtype)

        def distilled(name: str, target: Targets) -> tuple[Array, Array, Array]:
            pair = readouts[name], teacher_outputs[name]
            weight = config.weight * strength
            return sums_of(losses[name], *pair, target, weight, **options)

        parts = [distilled(name, target) for name, target in targets.items()]
        total, nats = (reduce(add, sums) for sums in list(zip(*parts, strict=True))[:2])
        num_targets = reduce(add, (jnp.sum(t.weight) for t in targets.values()))
        sums = {"nats_sum": nats, "num_targets": num_targets}
        error = total / jnp.maximum(num_targets, 1.0)
        if config.hidden_weight:
            mask = _mask(streams[0], inputs, targets)
            away = alignment_error(
                variables[ALIGN], streams, teacher_streams, mask, dtype
            )
            error += config.hidden_weight * strength * away
        return error, sums

    return error_fn


def make_reader(
    student: ModelConfig, teacher: ModelConfig, config: DistillConfig
) -> Callable[[PyTree, PyTree, PyTree], Any]:
    """Returns (batch, inputs, teacher's variables) -> (outputs by head, streams).

    Outputs are readouts, or the outcomes that a batch holds; then there are no streams.
    """
    network, head = teacher.module(), student.heads[0].name

    def read_teacher(batch: PyTree, inputs: PyTree, taught_by: PyTree) -> Any:
        if config.keeps_outcomes:
            return {head: Outcomes(batch["ids"], batch["logs"])}, None
        outputs: Any = network.apply(taught_by, inputs, method="outputs")
        return jax.lax.stop_gradient(outputs)

    return read_teacher


def sums_of(
    loss: str,
    student: Readout,
    teacher: Readout | Outcomes,
    target: Targets,
    weight: Float[Array, ""] | float,
    *,
    temperature: float,
    dtype: Any,
) -> tuple[Array, Array, Array]:
    """Returns sums of one head: the mixed error, cross entropy, divergence.

    Args:
        loss: What is lost, see `HeadConfig`: ``classes`` or ``positions``.
        student: What learns.
        teacher: What is learned from.
        target: What is right.
        weight: The teacher's share.
        temperature: Divides both models' logits.
        dtype: Type of the operands of products over classes.
    """
    if loss == "positions":
        assert isinstance(teacher, Readout)
        own = student, teacher, target, weight
        return position_sums(*own, temperature=temperature)
    rows = in_rows(student, teacher, target)
    return distilled_sums(*rows, weight, temperature=temperature, dtype=dtype)


def in_rows(
    readout: Readout, teacher: Readout | Outcomes, target: Targets
) -> tuple[Readout, Readout | Outcomes, Array, Array]:
    """Returns what is compared with two leading axes: B T, or B 1 of one target a row.

    Of both models' answers and of the targets.
    """
    if target.values.ndim == 2:
        return readout, teacher, target.values, target.weight
    widen = lambda x: x[:, None]
    readout = dataclasses.replace(readout, x=widen(readout.x))
    if isinstance(teacher, Readout):
        teacher = dataclasses.replace(teacher, x=widen(teacher.x))
    else:
        teacher = jax.tree.map(widen, teacher)
    return readout, teacher, widen(target.values), widen(target.weight)


def _mask(
    stream: Float[Array, "B T D"],
    inputs: Mapping[str, Array],
    targets: Mapping[str, Targets],
) -> Float[Array, "B T"]:
    """Returns 1 where a position counts: it has a target, or at least is no padding."""
    for target in targets.values():
        if target.weight.shape == stream.shape[:2]:
            return target.weight
    if "tokens_segments" in inputs:
        return (inputs["tokens_segments"] > 0).astype(jnp.float32)
    return jnp.ones(stream.shape[:2])
