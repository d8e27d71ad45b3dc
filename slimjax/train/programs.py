"""Programs: what is compiled for one blueprint, each on its first use."""

import dataclasses
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax import processes
from slimjax.distill.alignment import without_maps
from slimjax.distill.error import make_distilled_error_fn
from slimjax.distill.outcomes import outcome_fields
from slimjax.distill.teacher import Teacher
from slimjax.distill.together import make_mutual_error_fn
from slimjax.mesh.layout import Layout
from slimjax.mesh.shardings import Fields, abstract_batch, replicated
from slimjax.nn.dropout import drop_connect, fold_name
from slimjax.tasks.error import ErrorFn, make_error_fn, make_outputs_fn
from slimjax.train.blueprint import Blueprint
from slimjax.train.moments import make_moments_fn
from slimjax.train.precision import quantized
from slimjax.train.state import TrainState
from slimjax.train.step import make_train_step
from slimjax.train.taught_step import (
    make_mutual_step,
    make_taught_step,
    put_teacher,
)

Outputs = Callable[[PyTree, PyTree], dict[str, jax.Array]]
"""(variables, batch) -> what is kept of each row."""

Step = Callable[[TrainState, PyTree], Any]
"""(state, batch) -> (state, metrics); the state that goes in is gone afterwards."""


class Programs:
    """The compiled functions of a stage.

    Attributes:
        blueprint: What they are compiled for.
        layout: How the state lies in them.
        tx: The optimizer.
        abstract_state: Shapes and shardings of the state.
        compile_seconds: Time spent in compiling so far.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        layout: Layout,
        tx: optax.GradientTransformation,
        abstract_state: TrainState,
    ):
        """Compiles nothing yet."""
        self.blueprint, self.layout, self.tx = blueprint, layout, tx
        self.abstract_state = abstract_state
        self.compile_seconds = 0.0
        self._steps: dict[Any, Step] = {}
        self._outputs: dict[int, Outputs] = {}
        self._teachers: dict[str, PyTree] = {}

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self.layout.mesh

    @property
    def fields(self) -> Fields:
        """What the arrays of a batch are, those of a teacher's outcomes among them."""
        blueprint, top_k = self.blueprint, self.blueprint.run.distill.top_k
        fields = dict(blueprint.outline.fields)
        if top_k:
            fields |= outcome_fields(blueprint.outline.length, top_k)
        return fields

    @property
    def train_step(self) -> Step:
        """The step without a teacher that is fixed, on batches of whole rows."""
        return self._step_of(self.blueprint.outline.fields)

    def taught_step(self, teacher: Teacher) -> Step:
        """Returns the step with a teacher beside the data, on whole rows."""
        return self._step_of(self.fields, teacher)

    def step_for(self, batch: PyTree, teacher: Teacher | None = None) -> Step:
        """Returns the step for batches of the shape of one, such as those of a bucket.

        Args:
            batch: Arrays by field.
            teacher: The model that stands beside the data, if there is one.
        """
        fields = {
            name: dataclasses.replace(self.fields[name], shape=array.shape[1:])
            for name, array in batch.items()
        }
        return self._step_of(fields, teacher)

    def _step_of(self, fields: Fields, teacher: Teacher | None = None) -> Step:
        """Returns the step for batches of these shapes, compiled on its first use."""
        shapes = tuple(sorted((name, field.shape) for name, field in fields.items()))
        key = teacher.digest if teacher else "", shapes
        if key not in self._steps and teacher is not None:
            self._steps[key] = self._make_taught_step(teacher, fields)
        elif key not in self._steps:
            step = self._mutual_step() if self.blueprint.peer else self._plain_step()
            self._steps[key] = self._compile_step(step, fields)
        return self._steps[key]

    @property
    def outputs(self) -> Outputs:
        """Evaluation: (variables, batch) -> what is kept of each row."""
        return self.outputs_of(self.blueprint.run.data.batch_size)

    def outputs_of(self, num_rows: int) -> Outputs:
        """Returns the evaluation of batches of so many rows, compiled on first use."""
        if num_rows not in self._outputs:
            outputs_fn = make_outputs_fn(self.blueprint.task, self.blueprint.model)
            variables, batch = self.abstract_state.variables, self._rows(num_rows)
            compiled = self._compile_for(self._quantized(outputs_fn), variables, batch)
            self._outputs[num_rows] = compiled
        return self._outputs[num_rows]

    @cached_property
    def training_outputs(self) -> Outputs:
        """`outputs` of a batch like those of training, whose rows may share images."""
        task, model = self.blueprint.task, self.blueprint.model
        if (share := task.share) is None:
            return self.outputs
        outputs_fn = self._quantized(make_outputs_fn(task, model))
        of_shared = lambda variables, batch: outputs_fn(variables, share(batch))
        return self._compile_for(of_shared, self.abstract_state.variables)

    @cached_property
    def moments(self) -> Callable[[PyTree, PyTree], PyTree]:
        """Second moments of what writers read: (variables, training batch) -> them."""
        task, unstacked = self.blueprint.task, self.layout.unstack
        moments_fn = make_moments_fn(task, self.blueprint.model)
        share = task.share or (lambda batch: batch)
        of_any = lambda variables, batch: moments_fn(unstacked(variables), share(batch))
        return self._compile_for(of_any, self.abstract_state.params)

    @cached_property
    def logits(self) -> Callable[[PyTree, PyTree], dict[str, jax.Array]]:
        """The forward pass in float32: (variables, batch) -> logits of each head."""
        changes = dict(dtype="float32", attention_impl="auto")
        network = dataclasses.replace(self.blueprint.model, **changes).module()

        def logits_fn(variables: PyTree, batch: PyTree) -> dict[str, jax.Array]:
            inputs = self.blueprint.task.inputs(batch, None)
            readouts = network.apply(variables, inputs)
            return {name: readout.logits() for name, readout in readouts.items()}

        return jax.jit(logits_fn, out_shardings=replicated(self.mesh))

    def error_fn(self) -> ErrorFn:
        """Returns (variables, batch, key) -> (error, sums), what training descends."""
        train = self.blueprint.run.train
        return make_error_fn(
            self.blueprint.task,
            self.blueprint.model,
            label_smoothing=train.label_smoothing,
            z_loss=train.z_loss,
        )

    def compile(self, jitted: Any, *arguments: PyTree) -> Any:
        """Returns the program of these arguments' shapes; the time counts."""
        start = time.perf_counter()
        with jax.set_mesh(self.mesh):
            compiled = jitted.lower(*arguments).compile()
        processes.barrier("a compiled program")  # Devices wait less patiently.
        self.compile_seconds += time.perf_counter() - start
        return compiled

    def abstract_batch(self, fields: Fields | None = None) -> PyTree:
        """Returns shapes and shardings of a batch."""
        fields = self.blueprint.outline.fields if fields is None else fields
        return abstract_batch(fields, self.blueprint.run.data.batch_size, self.mesh)

    def _rows(self, num_rows: int) -> PyTree:
        """Returns the same of whole rows, of any number."""
        return abstract_batch(self.blueprint.outline.fields, num_rows, self.mesh)

    def _plain_step(self) -> Step:
        return self._make_step(self._quantized(self._dropped(self.error_fn())))

    def _mutual_step(self) -> Step:
        """Returns the step of two models that learn together."""
        blueprint, distill = self.blueprint, self.blueprint.run.distill
        assert blueprint.peer is not None
        pair = blueprint.model, blueprint.peer
        error_fn = make_mutual_error_fn(blueprint.task, *pair, distill)
        strength = distill.strength(blueprint.run.train.num_steps)
        error_fn = self._quantized(self._dropped(error_fn))
        return make_mutual_step(strength, error_fn, self._make_step)

    def _make_taught_step(self, teacher: Teacher, fields: Fields) -> Step:
        blueprint, distill = self.blueprint, self.blueprint.run.distill
        error_fn = make_distilled_error_fn(
            blueprint.task, blueprint.model, teacher.model, distill
        )
        strength = distill.strength(blueprint.run.train.num_steps)
        step = make_taught_step(
            strength, self._quantized(self._dropped(error_fn)), self._make_step
        )
        # With outcomes, the batch holds what the teacher would say.
        taught_by = {} if distill.keeps_outcomes else self._place(teacher)
        compiled = self._compile_step(step, fields, taught_by)
        return lambda state, batch: compiled(state, batch, taught_by)

    def _place(self, teacher: Teacher) -> PyTree:
        """Returns a teacher's variables on the devices, the same for all lengths."""
        if teacher.digest not in self._teachers:
            self._teachers[teacher.digest] = put_teacher(teacher, self.mesh)
        return self._teachers[teacher.digest]

    def _make_step(self, error_fn: ErrorFn) -> Step:
        run = self.blueprint.run
        return make_train_step(
            error_fn,
            self.tx,
            accumulation_steps=run.optim.accumulation_steps,
            ema_decay=run.optim.ema_decay,
            sample_gates=self._sample_gates(),
            guard=run.train.guard,
            key_of=self._key_of if self._is_random else None,
        )

    @property
    def _is_random(self) -> bool:
        """Whether the error draws from a key."""
        blueprint = self.blueprint
        drops = blueprint.model.is_random or blueprint.run.model.drop_connect
        return bool(blueprint.task.is_random or drops)

    def _key_of(self, step: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.blueprint.run.seed), step)

    def _sample_gates(self) -> Callable[..., PyTree] | None:
        sample = self.blueprint.strategy.sample_gates
        if sample is None:
            return None
        return lambda gates, step: sample(gates, self._key_of(step))

    def _dropped(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function of (variables, ..., key) some of whose weights are 0."""
        rates = self.blueprint.run.model.drop_connect
        names, layout = self.blueprint.names["params"], self.layout
        if not any(rates.values()):
            return fn

        def with_dropped(variables: PyTree, *rest: Any) -> Any:
            key = fold_name(rest[-1], "weights")
            each = layout.unstack({"params": variables["params"]})["params"]
            weights = drop_connect(each, names, rates, key)
            return fn({**variables, **layout.stack({"params": weights})}, *rest)

        return with_dropped

    def _quantized(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        group_size = self.blueprint.run.quantize.group_size
        return quantized(fn, self.blueprint.names["params"], group_size)

    def _compile_step(self, step: Callable, fields: Fields, *constants: PyTree) -> Any:
        """Compiles (state, batch, *constants) -> (state, metrics)."""
        arguments = self.abstract_state, self.abstract_batch(fields), *constants
        places = jax.tree.map(lambda s: s.sharding, self.abstract_state)
        jitted = jax.jit(
            step,
            donate_argnums=0,
            in_shardings=_places(arguments),
            out_shardings=(places, replicated(self.mesh)),
        )
        return self.compile(jitted, *arguments)

    def _compile_for(
        self, fn: Callable, variables: PyTree, batch: PyTree | None = None
    ) -> Callable[..., Any]:
        """Compiles (variables, batch) -> any, which passes over maps to a teacher."""
        batch = self.abstract_batch() if batch is None else batch
        arguments = without_maps(variables), batch
        jitted = jax.jit(
            fn, in_shardings=_places(arguments), out_shardings=replicated(self.mesh)
        )
        compiled = self.compile(jitted, *arguments)
        run = lambda variables, batch: compiled(without_maps(variables), batch)
        return lambda *inputs: processes.wait_for(run(*inputs), "an evaluation")


def _places(arguments: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """Returns the shardings of arguments, arrays or shapes."""
    return jax.tree.map(lambda leaf: leaf.sharding, arguments)
