"""A stage: everything that is compiled for one shape of the model."""

import dataclasses
import functools
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import PyTree

from slimjax.models.config import ModelConfig
from slimjax.models.decoder import Decoder, abstract_variables
from slimjax.objective.size import (
    MEASURES,
    Inventory,
    SizeFn,
    make_size_fn,
    take_inventory,
)
from slimjax.strategies import get
from slimjax.strategies.base import StepContext, Strategy
from slimjax.tasks.lm import make_error_fn, make_moments_fn, make_sums_fn
from slimjax.train.config import RunConfig
from slimjax.train.mesh import by_rows, make_mesh, replicated
from slimjax.train.optim import make_tx
from slimjax.train.state import TrainState, make_state
from slimjax.train.step import make_train_step
from slimjax.trees import axis_names, unflatten


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
        tx: The optimizer.
        compile_seconds: Time spent in compiling so far.
    """

    def __init__(
        self,
        run: RunConfig,
        model: ModelConfig,
        special: Special,
        start_sizes: dict[str, float] | None = None,
    ):
        """Builds the functions; compiles nothing yet."""
        self.run, self.model, self.special = run, model, special
        boxed = abstract_variables(model)
        self.abstract_params = dict(nn.meta.unbox(boxed))
        self.names = axis_names(boxed)
        self.inventory: Inventory = take_inventory(boxed, run.data.seq_len)
        gates = self.inventory.open_gates()
        self.sizes = {
            measure: float(make_size_fn(measure, self.inventory, start_sizes)(gates))
            for measure in (*MEASURES, *run.objective.measures)
        }
        self.start_sizes = start_sizes or self.sizes
        self.mesh: Mesh = make_mesh(run.mesh, run.data.batch_size)
        self.strategy: Strategy = get(run.objective.strategy)
        self.tx: optax.GradientTransformation = make_tx(
            run.optim, self.strategy, self._step_context(), self._held_gates()
        )
        self.compile_seconds = 0.0

    def _step_context(self) -> StepContext:
        objective, parts = self.run.objective, self.budget_parts()
        least = min(parts.values(), default=1.0)
        size_fns = {measure: self.size_fn(measure) for measure in objective.measures}

        def size_fn(variables: PyTree) -> Any:
            """The size beside its budget, of the measure whose budget is tightest."""
            sizes = (
                fn(variables["gates"]) / self.start_sizes[name] * least / parts[name]
                for name, fn in size_fns.items()
            )
            return functools.reduce(jnp.maximum, sizes)

        return StepContext(
            objective=objective,
            size_fn=size_fn,
            budget_schedule=self._budget_schedule(least),
            learning_rate=self.run.optim.schedule(self.run.train.num_steps),
        )

    def size_fn(self, measure: str) -> SizeFn:
        """Returns the function from gates to size."""
        return make_size_fn(measure, self.inventory, self.start_sizes)

    def budget_parts(self) -> dict[str, float]:
        """Returns the budget of each priced measure, as a part of the start's size."""
        whole, objective = self.start_sizes, self.run.objective
        if not objective.has_budget:
            return dict.fromkeys(objective.measures, 1.0)
        sizes = objective.budget_sizes(whole)
        return {measure: size / whole[measure] for measure, size in sizes.items()}

    def _budget_schedule(self, part: float) -> optax.Schedule | None:
        """Returns the largest part of the start's size, falling until the last seam."""
        if not self.run.objective.has_budget:
            return None
        last = self.run.seam_steps[-1]
        return optax.linear_schedule(1.0, part, last)

    def _held_gates(self) -> PyTree:
        """Returns True for gates that stay at 1, whatever the strategy."""
        limits = self.run.resize.limits(cautious=False)
        paths = self.inventory.gates
        return unflatten({path: not limits.may_move(path) for path in paths})

    @cached_property
    def abstract_state(self) -> TrainState:
        """Shapes and shardings of the state."""
        ema = self.run.optim.ema_decay > 0
        make = lambda params: make_state(params, self.tx, ema=ema)
        shapes = jax.eval_shape(make, self.abstract_params)
        place = replicated(self.mesh)
        return jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes
        )

    def start(self, params: PyTree) -> TrainState:
        """Returns the state of step 0 with these weights and gates."""
        state = make_state(params, self.tx, ema=self.run.optim.ema_decay > 0)
        return self.place(state)

    def place(self, state: PyTree) -> PyTree:
        """Puts a state where the compiled step expects it."""
        return jax.device_put(state, replicated(self.mesh))

    @cached_property
    def train_step(self) -> Callable[[TrainState, PyTree], Any]:
        """The compiled step; the state that goes in is gone afterwards."""
        step = make_train_step(
            make_error_fn(self.model, **dataclasses.asdict(self.special)),
            self.tx,
            accumulation_steps=self.run.optim.accumulation_steps,
            ema_decay=self.run.optim.ema_decay,
        )
        everywhere = replicated(self.mesh)
        jitted = jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(everywhere, by_rows(self.mesh)),
            out_shardings=(everywhere, everywhere),
        )
        return self._compile(jitted, self.abstract_state, self._abstract_batch())

    @cached_property
    def sums(self) -> Callable[[PyTree, PyTree], dict[str, jax.Array]]:
        """The compiled evaluation: (variables, batch) -> sums."""
        sums_fn = make_sums_fn(self.model, **dataclasses.asdict(self.special))
        everywhere = replicated(self.mesh)
        jitted = jax.jit(
            sums_fn,
            in_shardings=(everywhere, by_rows(self.mesh)),
            out_shardings=everywhere,
        )
        params = self.abstract_state.params
        return self._compile(jitted, params, self._abstract_batch())

    @cached_property
    def moments(self) -> Callable[[PyTree, PyTree], PyTree]:
        """The compiled second moments of what writers read: (variables, batch)."""
        moments_fn = make_moments_fn(self.model, **dataclasses.asdict(self.special))
        everywhere = replicated(self.mesh)
        jitted = jax.jit(
            moments_fn,
            in_shardings=(everywhere, by_rows(self.mesh)),
            out_shardings=everywhere,
        )
        params = self.abstract_state.params
        return self._compile(jitted, params, self._abstract_batch())

    @cached_property
    def logits(self) -> Callable[[PyTree, jax.Array], jax.Array]:
        """The compiled forward pass in float32: (variables, tokens) -> logits."""
        exact = dataclasses.replace(self.model, dtype="float32")
        return jax.jit(Decoder(exact).apply)

    def _compile(self, jitted: Any, *arguments: PyTree) -> Any:
        start = time.perf_counter()
        compiled = jitted.lower(*arguments).compile()
        self.compile_seconds += time.perf_counter() - start
        return compiled

    def _abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        shape = (self.run.data.batch_size, self.run.data.seq_len)
        place = by_rows(self.mesh)
        return {"tokens": jax.ShapeDtypeStruct(shape, jnp.int32, sharding=place)}
