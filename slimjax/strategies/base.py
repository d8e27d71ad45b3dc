"""What a strategy is: how gates move inside a step, and what a seam pays for a unit."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.limits import Limits
from slimjax.objective.precision import BitCosts
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import Inventory, SizeFn
from slimjax.objective.units import Costs, Gates
from slimjax.trees import flatten

ProbeFn = Callable[..., float]
"""Gates by path, then maybe bits by key and fits by path -> mean nats a target.

What is not named is as it is.
"""


@dataclasses.dataclass(frozen=True)
class StepContext:
    """What a strategy may use inside the train step.

    Attributes:
        objective: The config block.
        size_fn: Size as a fraction of the starting model's, differentiable.
        budget_schedule: Largest fraction at each step, or None at a price.
        learning_rate: Shape of the learning rate, 1 at its peak.
    """

    objective: ObjectiveConfig
    size_fn: SizeFn
    budget_schedule: optax.Schedule | None
    learning_rate: optax.Schedule


@dataclasses.dataclass(frozen=True)
class SeamContext:
    """What a strategy may use at a seam, on the host.

    Attributes:
        inventory: The model as it is.
        params: ``{"params": weights, "gates": gates}``, by nested names.
        opt_state: The optimizer's state, which may hold statistics of the strategy.
        probe: Measures the loss with some gates changed.
        seed: The run's seed.
        limits: What may go; the cost of all else need not be known.
        quantize: In how many bits units may be stored.
    """

    inventory: Inventory
    params: PyTree
    opt_state: PyTree
    probe: ProbeFn
    seed: int
    limits: Limits = Limits()  # noqa: RUF009
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A way to tell who goes.

    Attributes:
        make_gate_tx: Builds the Optax transformation of the gates' group.
        judge: Returns the nats that closing each unit costs, by gate, nan where it
            cannot tell (a sublayer is then the sum of its units); None: nobody goes.
        judge_bits: Returns the nats that each state of bits costs each unit; None where
            bits are not chosen.
        make_weight_tx: Builds a transformation that follows the weights' optimizer,
            for strategies that shrink weights inside the step; None for most.
        read_alpha: Reads the price, nats for the whole starting model, from the
            optimizer's state, for strategies whose costs rank units and are no nats.
    """

    make_gate_tx: Callable[[StepContext], optax.GradientTransformation]
    judge: Callable[[SeamContext], Costs] | None = None
    judge_bits: Callable[[SeamContext], BitCosts] | None = None
    make_weight_tx: Callable[[StepContext], optax.GradientTransformation] | None = None
    read_alpha: Callable[[PyTree], float | None] | None = None


def find_state(opt_state: PyTree, kind: type) -> PyTree:
    """Returns the only part of an optimizer's state that is a `kind`.

    Raises:
        LookupError: If there is none, or more than one.
    """
    is_kind = lambda node: isinstance(node, kind)
    found = [n for n in jax.tree.leaves(opt_state, is_leaf=is_kind) if is_kind(n)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} states of {kind.__name__}, not one")
    return found[0]


def host_gates(gates: dict) -> Gates:
    """Returns gates by path as float64 NumPy arrays."""
    return {path: np.asarray(gate, np.float64) for path, gate in flatten(gates).items()}
