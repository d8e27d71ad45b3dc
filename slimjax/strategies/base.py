"""What a strategy is: how gates move in a step, and what removing a unit costs."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.budget.bits import BitCosts
from slimjax.budget.limits import Limits
from slimjax.budget.units import Costs, Gates
from slimjax.nn.axes import to_host
from slimjax.nn.gates import NESTED, SUBLAYER, is_shared
from slimjax.nn.quantize import Precision
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.curvature import WeightMoments
from slimjax.objective.inventory import Inventory
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.trees import Path, flatten

ProbeFn = Callable[..., float]
"""Gates by path, then maybe bits by key and fits by path -> mean nats per target.

What is not named is as it is.
"""

RELUCTANCE = 1e3
"""Factor on the cost of a sublayer whose cost its strategy does not estimate."""


@dataclasses.dataclass(frozen=True)
class StepContext:
    """What a strategy may use inside the train step.

    Attributes:
        objective: The config block.
        inventory: The model as it is.
        size_fn: Size as a fraction of the starting model's, differentiable.
        budget_schedule: Largest fraction at each step, or None at a price.
        learning_rate: Shape of the learning rate, 1 at its peak.
        peak_learning_rate: That peak, of the weights.
        depth_size_fn: From ``{"depths": depths}`` to size as a fraction of the starting
            model's, differentiable, where depths are learned.
        limits: Which units may be removed.
        quantize: In how many bits units may be stored.
    """

    objective: ObjectiveConfig
    inventory: Inventory
    size_fn: SizeFn
    budget_schedule: optax.Schedule | None
    learning_rate: optax.Schedule
    peak_learning_rate: float
    depth_size_fn: SizeFn | None = None
    limits: Limits = Limits()  # noqa: RUF009
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)


@dataclasses.dataclass(frozen=True)
class SeamContext:
    """What a strategy may use at a seam, on the host.

    Attributes:
        objective: The config block.
        inventory: The model as it is.
        size_fn: Size as a fraction of the starting model's, in all priced measures
            together, so that every unit with a budget has a size.
        params: ``{"params": weights, "gates": gates}``, and ``depths`` where they are
            learned, by nested names: host arrays, or, on a mesh, arrays of the devices,
            to be reduced there.
        opt_state: The optimizer's state, likewise, which may hold statistics of the
            strategy.
        probe: Measures the loss with some gates changed.
        moments: Measures what writers read: h^T h, ``[I I]``, by the weight's names.
        seed: The run's seed.
        limits: Which units may be removed; no other costs are needed.
        quantize: In how many bits units may be stored.
        precision: Bits and fits that units have now; None where nothing is rounded.
        start_bytes: Bytes of the model that the run started from.
    """

    objective: ObjectiveConfig
    inventory: Inventory
    size_fn: SizeFn
    params: PyTree
    opt_state: PyTree
    probe: ProbeFn
    moments: Callable[[], PyTree]
    seed: int
    limits: Limits = Limits()  # noqa: RUF009
    quantize: QuantizeConfig = dataclasses.field(default_factory=QuantizeConfig)
    precision: Precision | None = None
    start_bytes: float = 1.0


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A way to choose the units that are removed.

    Attributes:
        make_gate_tx: Builds the Optax transformation of the gates' group.
        cost: Returns the nats that closing each unit costs, by gate, nan where the
            cost is unknown (a sublayer then costs the sum of its units); None where no
            unit is removed.
        bit_cost: Returns the nats that each state of bits costs each unit; None where
            bits are not chosen.
        make_weight_tx: Builds a transformation that follows the weights' optimizer,
            for strategies that shrink weights inside the step; None for most.
        make_depth_tx: Builds the transformation of the depths' group, for strategies
            that learn bits (see `slimjax.nn.depths`); None for most.
        read_alpha: Reads the price, nats for the whole starting model, from the
            optimizer's state, where it is found inside the step; None where it is not.
        prices_steps: Whether the price acts inside the step, so that the step's program
            depends on sizes, and with them on bits.
        costs_are_nats: Whether costs are loss changes; if not, they only rank.
        sample_gates: Returns the gates of one step, drawn with a key, from those of
            the state; None where they are the same.
        deterministic_gates: Returns the gates in [0, 1] with which the model is
            evaluated and cut, from those of the state; None where they are the same.
    """

    make_gate_tx: Callable[[StepContext], optax.GradientTransformation]
    cost: Callable[[SeamContext], Costs] | None = None
    bit_cost: Callable[[SeamContext], BitCosts] | None = None
    make_weight_tx: Callable[[StepContext], optax.GradientTransformation] | None = None
    make_depth_tx: Callable[[StepContext], optax.GradientTransformation] | None = None
    read_alpha: Callable[[PyTree], float | None] | None = None
    prices_steps: bool = False
    costs_are_nats: bool = False
    sample_gates: Callable[[PyTree, jax.Array], PyTree] | None = None
    deterministic_gates: Callable[[PyTree], PyTree] | None = None


def rank_by(scores: Gates, context: SeamContext) -> Costs:
    """Returns costs by which units are removed in the order of their scores.

    All layers are ranked together. A price weighs cost against size; so a unit's cost
    is its score times its size, and any price removes the units whose score is below
    it. Without a budget only units with a score of 0 are removed, since a rank is not
    a loss in nats.

    Args:
        scores: 0 or more for each unit, comparable between gates, by gate.
        context: The seam.
    """
    sizes = unit_sizes(context.size_fn, context.inventory.open_gates())
    if context.objective.has_budget:
        costs = {path: score * sizes[path] for path, score in scores.items()}
    else:
        costs = {p: np.where(score > 0, np.inf, 0.0) for p, score in scores.items()}
    return sublayers_last(costs, context.inventory)


def sublayers_last(costs: Costs, inventory: Inventory) -> Costs:
    """Returns costs by which a sublayer is removed only when nothing else can be.

    It is removed after its units, or where no other unit is left to remove. Scores of
    units are not comparable with those of sublayers: by their sum, a whole sublayer
    would be removed for its last units.
    """
    filled = dict(costs)
    for path in inventory.gates:
        if path[-1] == SUBLAYER:
            inside = (c for p, c in costs.items() if p[:-1] == path[:-1])
            filled[path] = RELUCTANCE * np.asarray(sum(cost.sum() for cost in inside))
    return filled


def open_products(gates: Gates) -> Gates:
    """Returns each unit's gate times those of the sublayers it stands in.

    Examples:
        >>> open_products({("sublayer",): np.array(0.5), ("mlp",): np.array([1.0, 0])})
        {('mlp',): array([0.5, 0. ])}
    """
    products = {}
    for path, gate in gates.items():
        if path[-1] == SUBLAYER:
            continue
        products[path] = gate
        for depth in range(len(path)):
            whole = gates.get((*path[:depth], SUBLAYER))
            products[path] = products[path] * (1.0 if whole is None else whole)
    return products


def relative(scores: Gates) -> Gates:
    """Returns scores as parts of the mean of their gate, so that layers compare.

    Examples:
        >>> relative({("mlp", "mlp"): np.array([1.0, 3.0])})
        {('mlp', 'mlp'): array([0.5, 1.5])}
    """
    return {p: score / max(score.mean(), 1e-30) for p, score in scores.items()}


def goes_with_its_group(path: Path, shapes: Mapping[Path, tuple[int, ...]]) -> bool:
    """Whether each unit of a gate is alone in its group, and is removed with it."""
    if path[-1] not in NESTED:
        return False
    return shapes[path] == shapes[(*path[:-1], NESTED[path[-1]])]


def stays_open(path: Path, shapes: Mapping[Path, tuple[int, ...]]) -> bool:
    """Whether strategies that act inside the step leave the units of a gate alone.

    They leave units that are removed only with their groups, and the channels of
    residual streams and the filters of convolutions, whose weights are part of other
    units.
    """
    return is_shared(path[-1]) or goes_with_its_group(path, shapes)


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


def weight_curvature(opt_state: PyTree) -> PyTree:
    """Returns the running mean square of each weight's gradient.

    It is Adam's second moment, or that of `track_curvature` with other optimizers.
    """
    kinds = {optax.ScaleByAdamState: "nu", WeightMoments: "second"}
    is_kind = lambda node: type(node) in kinds
    nodes = [n for n in jax.tree.leaves(opt_state, is_leaf=is_kind) if is_kind(n)]
    found = [getattr(node, kinds[type(node)])["params"] for node in nodes]
    (curvature,) = (tree for tree in found if isinstance(tree, dict))
    return curvature


def host_gates(gates: dict) -> Gates:
    """Returns gates by path as float64 NumPy arrays."""
    flat = flatten(to_host(gates))
    return {path: np.asarray(gate, np.float64) for path, gate in flat.items()}
