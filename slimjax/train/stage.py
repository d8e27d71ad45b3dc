"""A stage: everything that is compiled for one shape of the model."""

import copy
import dataclasses
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax import processes
from slimjax.distill.alignment import (
    ALIGN,
    alignment_flops,
    make_maps,
    map_names,
    without_maps,
)
from slimjax.distill.config import START
from slimjax.distill.error import make_distilled_error_fn
from slimjax.distill.teacher import Teacher
from slimjax.mesh.layout import make_layout
from slimjax.mesh.mesh import check_batch, check_cuts, check_divides, make_mesh
from slimjax.mesh.shardings import abstract_batch, replicated
from slimjax.models.config import ModelConfig
from slimjax.models.decoder import Decoder, abstract_variables
from slimjax.nn.axes import to_host
from slimjax.nn.depths import DEPTHS
from slimjax.nn.quantize import (
    BIT_AXES,
    FULL,
    PRECISION,
    Precision,
    precision_names,
    uniform_precision,
)
from slimjax.objective.depths import depths_of
from slimjax.objective.inventory import Bits, take_inventory, uniform_bits
from slimjax.objective.latency_table import LatencyTable
from slimjax.objective.size import SizeFn, make_size_fn
from slimjax.strategies import get
from slimjax.strategies.base import Strategy
from slimjax.tasks.lm import make_error_fn, make_moments_fn, make_sums_fn
from slimjax.train.config import RunConfig
from slimjax.train.optim import make_tx
from slimjax.train.precision import quantized
from slimjax.train.pricing import held_gates, make_step_context, measure_sizes
from slimjax.train.state import TrainState, init_params, make_state
from slimjax.train.step import ErrorFn, make_train_step
from slimjax.train.taught_step import make_taught_step, put_teacher
from slimjax.trees import axis_names


@dataclasses.dataclass(frozen=True)
class Special:
    """Tokens that are no text."""

    pad_id: int
    bos_id: int


class Stage:
    """One shape of the model, with its optimizer and its compiled functions.

    Attributes:
        run: The run's config.
        model: The shape.
        start_sizes: Sizes of the model that the run started from, by measure.
        mesh: The devices.
        names: Names of the axes of all variables.
        inventory: What size is counted over.
        strategy: Who tells who goes.
        layout: How the state lies in the programs.
        tx: The optimizer.
        bits: Bits of the units of each bit key.
        learns_bits: Whether units have depths, which are learned from these bits on.
        teacher: Who teaches, if anybody does; set before the first step.
        compile_seconds: Time spent in compiling so far.
    """

    def __init__(
        self,
        run: RunConfig,
        model: ModelConfig,
        special: Special,
        start_sizes: dict[str, float] | None = None,
        bits: Bits | None = None,
        mesh: Mesh | None = None,
        *,
        learns_bits: bool = False,
        latency: LatencyTable | None = None,
    ):
        """Builds the functions; compiles nothing yet.

        Raises:
            ConfigError: If the mesh cannot be had, or cannot divide the model.
        """
        self.run, self.model, self.special = run, model, special
        boxed = abstract_variables(model)
        self.abstract_params = dict(nn.meta.unbox(boxed))
        self.names = axis_names(boxed)
        if run.distill.aligns:
            self.names = {**self.names, ALIGN: map_names(len(model.layers))}
        if learns_bits:
            depth_names = precision_names(self.names["params"])["bits"]
            self.names = {**self.names, DEPTHS: depth_names}
        self.learns_bits = learns_bits
        inventory = take_inventory(boxed, model.uses({"": run.data.seq_len}))
        self.inventory = dataclasses.replace(inventory, latency=latency)
        self.bits = bits or uniform_bits(self.inventory, run.quantize.start)
        self.start_sizes: dict[str, float] = start_sizes or {}
        self.sizes = self._measure(self.bits)
        self.start_sizes = start_sizes or self.sizes
        self.mesh: Mesh = mesh or make_mesh(run.mesh)
        self._check_mesh()
        self.strategy: Strategy = get(run.objective.strategy)
        one_by_one = run.quantize.is_on or self.strategy.make_weight_tx is not None
        self.layout = make_layout(self.names, self.mesh, model, apart=one_by_one)
        self.tx: optax.GradientTransformation = make_tx(
            run.optim,
            self.strategy,
            make_step_context(self),
            held=held_gates(run, self.inventory),
            with_maps=run.distill.aligns,
            with_depths=learns_bits,
        )
        self.teacher: Teacher | None = None
        self.compile_seconds = 0.0

    def with_bits(self, bits: Bits) -> "Stage":
        """Returns a stage of the same shape, and the same programs, with other bits."""
        stage = copy.copy(self)
        stage.bits, stage.sizes = bits, self._measure(bits)
        return stage

    def _check_mesh(self) -> None:
        run, sizes = self.run, self.mesh.shape
        steps = run.optim.accumulation_steps
        check_batch(run.data.batch_size, run.data.seq_len, steps, sizes)
        check_divides(self.names["params"], self.abstract_params["params"], sizes)
        if run.seam_steps:
            check_cuts(run.resize.limits(cautious=False), sizes)

    def _measure(self, bits: Bits) -> dict[str, float]:
        objective, group_size = self.run.objective, self.run.quantize.group_size
        start = self.start_sizes
        return measure_sizes(objective, self.inventory, bits, group_size, start)

    def architecture(self) -> list[dict[str, Any]]:
        """Returns the layers as plain data, with the bits of their units."""
        layers = self.model.architecture()
        if not self.run.quantize.is_on:
            return layers
        for i, layer in enumerate(layers):
            keys = [k for k in self.bits if k[0] == f"layer_{i}" and k[-1] in BIT_AXES]
            layer["bits"] = {key[-1]: self.bits[key].tolist() for key in keys}
        return layers

    def size_fn(self, measure: str) -> SizeFn:
        """Returns the function from gates and bits to size in one measure."""
        group_size = self.run.quantize.group_size
        return make_size_fn(measure, self.inventory, group_size, self.start_sizes)

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes and shardings of the state."""
        shapes = jax.eval_shape(self._make_state, self.abstract_params)
        return self.layout.describe(shapes)

    @cached_property
    def abstract_checkpoint(self) -> TrainState:
        """The same of a checkpoint, in which each layer has arrays of its own."""
        return self.layout.describe(
            jax.eval_shape(self.layout.unstack, self.abstract_state)
        )

    @cached_property
    def state_sharding(self) -> TrainState:
        """How the state lies on the mesh."""
        return jax.tree.map(lambda s: s.sharding, self.abstract_state)

    def start(self, params: PyTree) -> TrainState:
        """Returns the state of step 0 with these weights and gates."""
        if self.mesh.size == 1:
            return self.place(self._make_state(self.place(params)))
        make = jax.jit(self._make_state, out_shardings=self.state_sharding)
        return make(params)

    def fresh(self) -> TrainState:
        """Returns the state of step 0 with weights drawn from the run's seed."""
        places = self.layout.shardings(self.abstract_params)
        return self.start(init_params(self.model, self.run.seed, places))

    def _make_state(self, params: PyTree) -> TrainState:
        params = self.layout.stack(params)
        if self.run.distill.aligns:
            params = {**params, ALIGN: self._first_maps()}
        if self.learns_bits:
            params = {**params, DEPTHS: depths_of(self.bits)}
        ema = self.run.optim.ema_decay > 0
        return make_state(
            params,
            self.tx,
            ema=ema,
            precision=self.no_rounding,
            health=self.run.train.guard.start(),
        )

    def _first_maps(self) -> PyTree:
        same_start = self.run.distill.teacher == START
        shape = len(self.model.layers), self.model.width, self._teacher_width
        return make_maps(*shape, same_start=same_start)

    @property
    def _teacher_width(self) -> int:
        """Width of who teaches, or will: the model as it is before its first cut."""
        return (self.teacher or self).model.width

    @property
    def no_rounding(self) -> Precision | None:
        """The precision with which weights are left as they are."""
        if not self.run.quantize.is_on:
            return None
        shapes, names = self.abstract_params["params"], self.names["params"]
        return uniform_precision(shapes, names, FULL)

    def unrounded(self, params: PyTree) -> PyTree:
        """Returns variables for `sums` whose weights stay as they are."""
        precision = self.no_rounding
        return params if precision is None else {**params, PRECISION: precision}

    def _quantized(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        group_size = self.run.quantize.group_size
        return quantized(fn, self.names["params"], group_size)

    def place(self, state: PyTree) -> PyTree:
        """Puts a state, or variables by their collections, where programs expect it."""
        return self.layout.place(state)

    def check_kernels(self) -> None:
        """Refuses kernels that this machine does not have, before there are data.

        Raises:
            ConfigError: Saying what the kernel wants.
        """
        if self.model.attention_impl == "auto":
            return
        with jax.set_mesh(self.mesh):
            batch = self._abstract_batch()
            jax.eval_shape(self._error_fn(), self.abstract_params, batch)

    def _error_fn(self) -> ErrorFn:
        train = self.run.train
        return make_error_fn(
            self.model,
            **dataclasses.asdict(self.special),
            label_smoothing=train.label_smoothing,
            z_loss=train.z_loss,
        )

    def settle(self, state: TrainState) -> TrainState:
        """Returns the state with the gates with which it is evaluated and cut."""
        if self.strategy.settle_gates is None:
            return state
        gates = self.strategy.settle_gates(to_host(state.params["gates"]))
        gates = self.place({"gates": gates})
        return dataclasses.replace(state, params={**state.params, **gates})

    def _sample_gates(self) -> Callable[..., PyTree] | None:
        sample = self.strategy.sample_gates
        if sample is None:
            return None
        key_of = lambda step: jax.random.fold_in(jax.random.key(self.run.seed), step)
        return lambda gates, step: sample(gates, key_of(step))

    @cached_property
    def train_step(self) -> Callable[[TrainState, PyTree], Any]:
        """The compiled step; the state that goes in is gone afterwards."""
        error_fn = self._quantized(self._error_fn())
        return self._compile_step(self._make_step(error_fn))

    @cached_property
    def distilled_step(self) -> Callable[[TrainState, PyTree], Any]:
        """The compiled step with the teacher beside the text."""
        assert self.teacher is not None
        run, special = self.run, dataclasses.asdict(self.special)
        error_fn = make_distilled_error_fn(
            self.model, self.teacher.model, run.distill, **special
        )
        step = make_taught_step(run, self._quantized(error_fn), self._make_step)
        is_kept = run.distill.keeps_outcomes  # Then batches say what the teacher says.
        taught_by = {} if is_kept else put_teacher(self.teacher, self.mesh)
        compiled = self._compile_step(step, taught_by, top_k=run.distill.top_k)
        return lambda state, batch: compiled(state, batch, taught_by)

    def is_taught(self, step: int) -> bool:
        """Whether the step after so many is one with the teacher."""
        return self.teacher is not None and step >= self.run.distill.first_step

    @cached_property
    def teacher_flops(self) -> float:
        """FLOPs of the teacher in one step: its forward pass, and maps to it."""
        assert self.teacher is not None
        data = self.run.data
        flops = self.teacher.flops_per_token(data.seq_len)
        if self.run.distill.aligns:
            shape = len(self.model.layers), self.model.width, self._teacher_width
            flops += 3 * alignment_flops(*shape)
        return data.batch_size * data.seq_len * flops

    def step_at(self, step: int) -> Callable[[TrainState, PyTree], Any]:
        """Returns the compiled step that follows so many."""
        return self.distilled_step if self.is_taught(step) else self.train_step

    def _make_step(self, error_fn: ErrorFn) -> Callable[[TrainState, PyTree], Any]:
        return make_train_step(
            error_fn,
            self.tx,
            accumulation_steps=self.run.optim.accumulation_steps,
            ema_decay=self.run.optim.ema_decay,
            sample_gates=self._sample_gates(),
            guard=self.run.train.guard,
        )

    def _compile_step(self, step: Callable, *constants: PyTree, top_k: int = 0) -> Any:
        """Compiles (state, batch, *constants) -> (state, metrics)."""
        arguments = self.abstract_state, self._abstract_batch(top_k), *constants
        jitted = jax.jit(
            step,
            donate_argnums=0,
            in_shardings=_places(arguments),
            out_shardings=(self.state_sharding, replicated(self.mesh)),
        )
        return self.compile(jitted, *arguments)

    @cached_property
    def sums(self) -> Callable[[PyTree, PyTree], dict[str, jax.Array]]:
        """The compiled evaluation: (variables, batch) -> sums."""
        sums_fn = make_sums_fn(self.model, **dataclasses.asdict(self.special))
        variables = self.abstract_state.variables
        return self._compile_for(self._quantized(sums_fn), variables)

    @cached_property
    def moments(self) -> Callable[[PyTree, PyTree], PyTree]:
        """The compiled second moments of what writers read: (variables, batch)."""
        moments_fn = make_moments_fn(self.model, **dataclasses.asdict(self.special))
        apart = self.layout.unstack
        of_any = lambda variables, batch: moments_fn(apart(variables), batch)
        return self._compile_for(of_any, self.abstract_state.params)

    @cached_property
    def logits(self) -> Callable[[PyTree, PyTree], jax.Array]:
        """The compiled forward pass in float32: (variables, tokens) -> logits."""
        changes = dict(dtype="float32", attention_impl="auto")
        exact = dataclasses.replace(self.model, **changes)
        return jax.jit(Decoder(exact).apply, out_shardings=replicated(self.mesh))

    def _compile_for(self, fn: Callable, variables: PyTree) -> Callable[..., Any]:
        """Compiles (variables, batch) -> any, which passes over maps to a teacher."""
        arguments = without_maps(variables), self._abstract_batch()
        jitted = jax.jit(
            fn, in_shardings=_places(arguments), out_shardings=replicated(self.mesh)
        )
        compiled = self.compile(jitted, *arguments)
        run = lambda variables, batch: compiled(without_maps(variables), batch)
        return lambda *inputs: processes.wait_for(run(*inputs), "an evaluation")

    def compile(self, jitted: Any, *arguments: PyTree) -> Any:
        """Returns the program of these arguments' shapes; the time counts."""
        start = time.perf_counter()
        with jax.set_mesh(self.mesh):
            compiled = jitted.lower(*arguments).compile()
        processes.barrier("a compiled program")  # Devices wait less patiently.
        self.compile_seconds += time.perf_counter() - start
        return compiled

    def _abstract_batch(self, top_k: int = 0) -> PyTree:
        data = self.run.data
        return abstract_batch(data.batch_size, data.seq_len, self.mesh, top_k)


def _places(arguments: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """Returns the shardings of arguments, arrays or shapes."""
    return jax.tree.map(lambda leaf: leaf.sharding, arguments)
