"""What a seam removes, and how many bits the rest keeps: measured, then decided."""

import dataclasses

import jax
import numpy as np
from jax.typing import ArrayLike

from slimjax.budget.bits import BitPrices
from slimjax.budget.decision import BitChoice, Decision
from slimjax.budget.units import Costs
from slimjax.errors import NotFeasibleError
from slimjax.nn.axes import is_spread, to_host
from slimjax.strategies.base import SeamContext
from slimjax.train.blueprint import Blueprint
from slimjax.train.dividing import decide_below, decide_divided
from slimjax.train.history import History
from slimjax.train.pricing import budget_parts
from slimjax.train.probe import Probe
from slimjax.train.search import Search, parts_fn
from slimjax.train.state import TrainState

DIGITS = 3
"""Significant digits of costs: devices that add up in another order agree on them."""


def round_digits(x: ArrayLike) -> np.ndarray:
    """Returns numbers rounded to `DIGITS` significant digits.

    Examples:
        >>> round_digits(np.array([0.0123456, -98765.0, np.inf, 0.0]))
        array([ 1.23e-02, -9.88e+04,       inf,  0.00e+00])
    """
    x = np.asarray(x, np.float64)
    known = np.isfinite(x) & (x != 0)
    size = np.floor(np.log10(np.abs(np.where(known, x, 1.0))))
    scale = 10.0 ** (DIGITS - 1 - size)
    return np.where(known, np.round(np.where(known, x, 0.0) * scale) / scale, x)


def decide(
    blueprint: Blueprint, state: TrainState, probe: Probe, history: History
) -> Decision:
    """Returns what a seam removes, at the config's price or towards its budget.

    Raises:
        NotFeasibleError: If nothing that may be removed makes the model small enough.
    """
    run, objective, index = blueprint.run, blueprint.run.objective, history.num_seams
    search = Search(blueprint, *measure_costs(blueprint, state, probe, history))
    if not objective.has_budget:
        decision = search.at_price(objective.alpha)
        assert decision is not None
        return decision
    budget = budget_at(blueprint, index)
    divides = bool(objective.division)
    decision = decide_divided(search, budget) if divides else search.at_budget(budget)
    if decision is None:
        raise NotFeasibleError(
            f"The seam at step {int(state.step)} cannot meet "
            f"{objective.describe_budgets()} with what may be removed. Ask for more, "
            "or free more in config.resize.units and config.resize.frozen."
        )
    highest = objective.max_price_ratio * (history.alpha or 0.0)
    if highest and decision.alpha > highest and index < len(run.seam_steps) - 1:
        if divides:
            return decide_below(search, budget, highest)
        alphas = decision.alphas * (highest / decision.alpha)
        decision = search.at_price(alphas) or decision
    return decision


def measure_costs(
    blueprint: Blueprint, state: TrainState, probe: Probe, history: History
) -> tuple[Costs, BitChoice | None]:
    """Returns the costs of units, and those of their bits where they are chosen.

    Nats are corrected by what the last seam showed.
    """
    strategy, run = blueprint.strategy, blueprint.run
    reachable = lambda tree: tree if is_spread(tree) else jax.device_get(tree)
    assert strategy.cost is not None
    measures = run.objective.measures
    sizes_fn = parts_fn(blueprint)
    context = SeamContext(
        objective=run.objective,
        inventory=blueprint.inventory,
        size_fn=lambda gates: sizes_fn(gates, blueprint.bits).sum(),
        params=reachable(state.params),
        opt_state=reachable(state.opt_state),
        probe=probe,
        moments=probe.moments,
        seed=run.seed,
        limits=run.resize.limits(cautious=False),
        quantize=run.quantize,
        precision=to_host(state.precision),
        start_bytes=blueprint.start_sizes["bytes"],
    )
    costs, choice = strategy.cost(context), None
    costs = {path: round_digits(cost) for path, cost in costs.items()}
    if strategy.costs_are_nats:
        costs = {path: cost * history.calibration for path, cost in costs.items()}
    if run.quantize.chooses and strategy.bit_cost is not None:
        bit_costs = strategy.bit_cost(context)
        nats = {key: round_digits(own) for key, own in bit_costs.nats.items()}
        bit_costs = dataclasses.replace(bit_costs, nats=nats)
        prices = BitPrices(blueprint.inventory, bit_costs, run.quantize.group_size)
        bytes_whole = blueprint.start_sizes["bytes"]
        choice = BitChoice(prices, measures.index("bytes"), bytes_whole)
    return costs, choice


def budget_at(blueprint: Blueprint, index: int) -> np.ndarray:
    """Returns the largest sizes after a seam, as parts of the start's, by measure.

    From the size that the seam finds, they fall in even ratios to those asked for,
    which the last seam meets; a run that goes on from a smaller model does not grow.
    """
    objective, measures = blueprint.run.objective, blueprint.run.objective.measures
    parts = budget_parts(objective, blueprint.start_sizes)
    goals = np.array([parts[name] for name in measures])
    now = np.array([blueprint.sizes[m] / blueprint.start_sizes[m] for m in measures])
    share = 1 / (len(blueprint.run.seam_steps) - index)
    return goals**share * np.maximum(now, goals) ** (1 - share)
