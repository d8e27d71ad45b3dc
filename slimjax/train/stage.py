"""A stage: a blueprint on devices, with its optimizer, its programs and its teacher."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax.budget.depths import depths_of
from slimjax.distill.alignment import ALIGN, alignment_flops, make_maps
from slimjax.distill.config import START
from slimjax.distill.peer import PEER, init_peer
from slimjax.distill.teacher import Teacher, flops_per_target
from slimjax.mesh.layout import Layout, make_layout
from slimjax.mesh.mesh import check_batch, check_cuts, check_divides, make_mesh
from slimjax.mesh.shardings import put_batch
from slimjax.nn.axes import to_host
from slimjax.nn.depths import DEPTHS
from slimjax.nn.quantize import PRECISION
from slimjax.objective.inventory import Bits
from slimjax.train.blueprint import Blueprint
from slimjax.train.layer_rates import make_layer_rates
from slimjax.train.optim import make_tx
from slimjax.train.pricing import make_step_context, unmoved_gates
from slimjax.train.programs import Programs, Step
from slimjax.train.state import TrainState, init_params, make_state


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """One shape of the model, as it is trained.

    Attributes:
        blueprint: What is decided about it.
        layout: How the state lies in the programs.
        tx: The optimizer.
        teacher: The model that it is distilled from, if there is one now.
    """

    blueprint: Blueprint
    layout: Layout
    tx: optax.GradientTransformation
    teacher: Teacher | None = None

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self.layout.mesh

    @cached_property
    def programs(self) -> Programs:
        """What is compiled for it."""
        return Programs(self.blueprint, self.layout, self.tx, self.abstract_state)

    def taught_by(self, teacher: Teacher | None) -> "Stage":
        """Returns the same stage, and the same programs, with a teacher."""
        return self._with(teacher=teacher)

    def with_bits(self, bits: Bits) -> "Stage":
        """Returns a stage of the same shape with other bits.

        Its programs are the same, unless the optimizer has a price in it, which depends
        on the bits.
        """
        blueprint = self.blueprint.with_bits(bits)
        if self.blueprint.strategy.prices_steps:
            return make_stage(blueprint, self.mesh, self.teacher)
        return self._with(blueprint=blueprint)

    def _with(self, **changes: Any) -> "Stage":
        stage = dataclasses.replace(self, **changes)
        width = self._teacher_width, stage._teacher_width
        if not self.blueprint.run.distill.aligns or len({*width}) == 1:
            vars(stage)["programs"] = self.programs
        return stage

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes and shardings of the state."""
        params = self.blueprint.abstract_params
        return self.layout.describe(jax.eval_shape(self._make_state, params))

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
        places = self.layout.shardings(self.blueprint.abstract_params)
        model, seed = self.blueprint.model, self.blueprint.run.seed
        return self.start(init_params(model, seed, places))

    def place(self, state: PyTree) -> PyTree:
        """Puts a state, or variables by their collections, where programs expect it."""
        return self.layout.place(state)

    def put(self, batch: Any) -> PyTree:
        """Puts a batch, the same one in all processes, where programs expect it."""
        return put_batch(batch, self.programs.fields, self.mesh)

    def unrounded(self, params: PyTree) -> PyTree:
        """Returns variables for `Programs.outputs` whose weights stay as they are."""
        precision = self.blueprint.no_rounding
        return params if precision is None else {**params, PRECISION: precision}

    def deterministic(self, state: TrainState) -> TrainState:
        """Returns the state with the gates with which it is evaluated and cut."""
        to_fixed = self.blueprint.strategy.deterministic_gates
        if to_fixed is None:
            return state
        gates = self.place({"gates": to_fixed(to_host(state.params["gates"]))})
        return dataclasses.replace(state, params={**state.params, **gates})

    def is_taught(self, step: int) -> bool:
        """Whether the step after so many is one with the teacher."""
        first = self.blueprint.run.distill.first_step
        has_teacher = self.teacher is not None or self.blueprint.peer is not None
        return has_teacher and step >= first

    def step_at(self, step: int, batch: PyTree | None = None) -> Step:
        """Returns the compiled step that follows so many.

        Args:
            step: Steps taken so far.
            batch: What it takes; by default batches of whole rows.
        """
        teacher = self.teacher if self.is_taught(step) else None
        if batch is not None:
            return self.programs.step_for(batch, teacher)
        return (
            self.programs.taught_step(teacher) if teacher else self.programs.train_step
        )

    @cached_property
    def teacher_flops(self) -> float:
        """FLOPs of the teacher in one step: its forward pass, and maps to it.

        Those of a teacher that learns are three times as many.
        """
        blueprint = self.blueprint
        lengths = blueprint.outline.priced_lengths
        if blueprint.peer is not None:
            flops = 3 * flops_per_target(blueprint.peer, lengths)
            return blueprint.targets_per_step * flops
        assert self.teacher is not None
        flops = self.teacher.flops_per_target(lengths)
        if blueprint.run.distill.aligns:
            model = blueprint.model
            shape = model.num_layers, model.width, self._teacher_width
            flops += 3 * alignment_flops(*shape)
        return blueprint.targets_per_step * flops

    def check_kernels(self) -> None:
        """Refuses kernels that this machine does not have, before there are data.

        Raises:
            ConfigError: Saying what the kernel needs.
        """
        if self.blueprint.model.attention_impl == "auto":
            return
        programs = self.programs
        with jax.set_mesh(self.mesh):
            params = self.blueprint.abstract_params
            jax.eval_shape(programs.error_fn(), params, programs.abstract_batch())

    def _make_state(self, params: PyTree) -> TrainState:
        run, blueprint = self.blueprint.run, self.blueprint
        params = self.layout.stack(params)
        if run.distill.aligns:
            params = {**params, ALIGN: self._first_maps()}
        if blueprint.peer is not None:
            params = {**params, PEER: init_peer(blueprint.peer, run.seed)}
        if blueprint.learns_bits:
            params = {**params, DEPTHS: depths_of(blueprint.bits)}
        return make_state(
            params,
            self.tx,
            ema=run.optim.ema_decay > 0,
            precision=blueprint.no_rounding,
            health=run.train.guard.start(),
        )

    def _first_maps(self) -> PyTree:
        model = self.blueprint.model
        same_start = self.blueprint.run.distill.teacher == START
        shape = model.num_layers, model.width, self._teacher_width
        return make_maps(*shape, same_start=same_start)

    @property
    def _teacher_width(self) -> int:
        """Width of the teacher, now or to come: the model before its first cut."""
        return (self.teacher.model if self.teacher else self.blueprint.model).width


def make_stage(
    blueprint: Blueprint, mesh: Mesh | None = None, teacher: Teacher | None = None
) -> Stage:
    """Returns the stage of a blueprint; compiles nothing yet.

    Args:
        blueprint: What is to be trained.
        mesh: The devices; by default those of the config.
        teacher: The model that it is distilled from.

    Raises:
        ConfigError: If the mesh cannot be had, or cannot divide the model.
    """
    run, strategy = blueprint.run, blueprint.strategy
    mesh = mesh or make_mesh(run.mesh)
    _check_mesh(blueprint, mesh)
    unstacked = run.quantize.is_on or strategy.make_weight_tx is not None
    layout = make_layout(blueprint.names, mesh, blueprint.model, unstacked=unstacked)
    tx = make_tx(
        run.optim,
        strategy,
        make_step_context(blueprint),
        frozen=unmoved_gates(run.resize, blueprint.inventory),
        with_maps=run.distill.aligns,
        with_depths=blueprint.learns_bits,
        with_peer=blueprint.peer is not None,
        layer_rates=make_layer_rates(blueprint.model, run.optim.layer_decay),
    )
    return Stage(blueprint, layout, tx, teacher)


def _check_mesh(blueprint: Blueprint, mesh: Mesh) -> None:
    run, sizes = blueprint.run, mesh.shape
    for fields in blueprint.outline.batch_fields:
        check_batch(fields, run.data.batch_size, run.optim.accumulation_steps, sizes)
    shapes = blueprint.abstract_params["params"]
    check_divides(blueprint.names["params"], shapes, sizes)
    if run.seam_steps:
        limits = run.resize.limits(cautious=False)
        check_cuts({axis: limits.block(axis) for axis in limits.units}, sizes)
