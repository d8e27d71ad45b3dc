"""A seam: between two stages, on the host, the model changes its size.

    judge the units -> decide who goes -> close -> refit -> fold -> cut -> verify

with bits to choose, what stays is then rounded to its levels.

It is a function of the state and the config alone: killed in the middle, it is done
again, the same, from the checkpoint before it. Decisions reckon with counted FLOPs,
never with a clock.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.models.decoder import config_of
from slimjax.nn.quantize import precision_names
from slimjax.objective.decision import BitChoice, Decision
from slimjax.objective.precision import BitPrices
from slimjax.objective.size import Bits
from slimjax.objective.units import Gates
from slimjax.objective.width import WidthChooser
from slimjax.resize.carry import carry_state, fold_moments
from slimjax.resize.least_squares import refit
from slimjax.resize.plan import Plan, make_plan
from slimjax.resize.shrink import cut, fold
from slimjax.store.faults import fault_point
from slimjax.strategies.base import SeamContext, host_gates
from slimjax.train.precision import PRECISION, round_state
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import flatten, unflatten

VERIFIED_ROWS = 2
"""Rows on which the logits of the closed and the cut model are compared."""

CLOSED_IS_CUT = 1e-4
"""Largest difference of logits, float32, that sums in another order may make."""


class Probe:
    """Measures losses of one model on one batch, with some gates changed."""

    def __init__(self, stage: Stage, variables: PyTree, batch: PyTree):
        """Compiles nothing: the stage's evaluation is used."""
        self.stage, self.variables, self.batch = stage, variables, batch
        self.num_calls = 0

    def __call__(self, gates: Gates, bits: Gates = {}, fits: Gates = {}) -> float:  # noqa: B006
        """Returns mean nats a target; what is not named stays as it is.

        Args:
            gates: Gates by path.
            bits: Bits of units by bit key.
            fits: Fits of units by path of the weight.
        """
        variables = {**self.variables, "gates": _merge(self.variables["gates"], gates)}
        if bits:
            precision = self.variables[PRECISION]
            variables[PRECISION] = {
                "bits": _merge(precision["bits"], bits),
                "fit": _merge(precision["fit"], fits),
            }
        sums = self.stage.sums(self.stage.place(variables), self.batch)
        self.num_calls += 1
        return float(sums["nats_sum"]) / float(sums["num_tokens"])

    @property
    def flops(self) -> float:
        """FLOPs spent so far."""
        tokens = self.batch["tokens"].size
        return self.num_calls * tokens * self.stage.sizes["flops"]


def _merge(tree: PyTree, changes: Gates) -> PyTree:
    """Returns a tree of arrays in which some, by path, are others."""
    leaves = flatten(tree)
    leaves |= {p: jnp.asarray(x, leaves[p].dtype) for p, x in changes.items()}
    return unflatten(leaves)


def take_seam(
    stage: Stage, state: TrainState, make_batch: Callable[[int], PyTree], index: int
) -> tuple[Stage, TrainState, dict[str, Any]]:
    """Makes the model smaller, if that pays.

    Args:
        stage: The stage that ends here.
        state: The state at its end.
        make_batch: Returns the i-th batch of training rows to measure on; losses are
            probed on the first.
        index: Number of this seam in the run, from 0.

    Returns:
        The next stage (or the same), the state in it, and what to log.
    """
    start = time.perf_counter()
    step = int(state.step)
    batch = make_batch(0)
    probe = Probe(stage, state.variables, batch)
    before = probe({})
    decision = decide(stage, state, probe, index)
    current = host_gates(state.params["gates"])
    closed = {path: current[path] * decision.gates[path] for path in current}
    plan, flops = make_plan(closed), probe.flops
    fault_point("seam-inside")

    record = _describe(stage, state, decision, plan)
    reason = _why_not(stage, decision, plan, step, index)
    record |= {"taken": not reason, "reason": reason or "pays"}
    if reason:
        record |= {"true_loss_change": 0.0} | _sizes(stage, "after")
        next_stage, next_state = stage, state
    else:
        state, refit_flops = refit_state(stage, state, closed, make_batch)
        next_stage, next_state = cut_state(stage, state, closed, plan, decision.bits)
        after = Probe(next_stage, next_state.variables, batch)
        record |= {"true_loss_change": after({}) - before}
        record |= _verify(stage, state, closed, next_stage, next_state, batch)
        record |= _sizes(next_stage, "after")
        flops += after.flops + refit_flops
    record |= {"flops_spent": flops, "seconds": time.perf_counter() - start}
    return next_stage, next_state, record


def decide(stage: Stage, state: TrainState, probe: Probe, index: int) -> Decision:
    """Returns who goes at this seam, at the config's price or towards its budget."""
    run, objective = stage.run, stage.run.objective
    assert stage.strategy.judge is not None
    context = SeamContext(
        inventory=stage.inventory,
        params=state.params,
        opt_state=state.opt_state,
        probe=probe,
        seed=run.seed,
        limits=run.resize.limits(cautious=False),
        quantize=run.quantize,
    )
    costs, choice = stage.strategy.judge(context), None
    whole, names = stage.start_sizes, objective.measures
    if run.quantize.chooses and stage.strategy.judge_bits is not None:
        bit_costs = stage.strategy.judge_bits(context)
        prices = BitPrices(stage.inventory, bit_costs, run.quantize.group_size)
        choice = BitChoice(prices, names.index("bytes"), whole["bytes"])
    size_fns = [stage.size_fn(name) for name in names]

    def size_fn(gates: Gates, bits: Bits | None) -> np.ndarray:
        sizes = zip(names, size_fns, strict=True)
        return np.array([float(fn(gates, bits)) / whole[name] for name, fn in sizes])

    def chooser(*, cautious: bool) -> WidthChooser:

        limits = run.resize.limits(cautious=cautious)
        return WidthChooser(stage.inventory, size_fn, costs, limits, stage.bits, choice)

    if not objective.has_budget:
        return chooser(cautious=True).at_price(objective.alpha)
    budget = budget_at(stage, index)
    decision = chooser(cautious=True).at_budget(budget)
    decision = decision or chooser(cautious=False).at_budget(budget)
    assert decision is not None, "the budget was checked against the smallest model"
    return decision


def budget_at(stage: Stage, index: int) -> np.ndarray:
    """Returns the largest sizes after a seam, as parts of the start's, by measure.

    From seam to seam they fall in even ratios; the last seam's are those asked for.
    """
    parts, num_seams = stage.budget_parts(), len(stage.run.seam_steps)
    goals = np.array([parts[name] for name in stage.run.objective.measures])
    return goals ** ((index + 1) / num_seams)


def refit_state(
    stage: Stage,
    state: TrainState,
    closed: Gates,
    make_batch: Callable[[int], PyTree],
) -> tuple[TrainState, float]:
    """Has what stays stand in for what goes.

    Returns:
        The state with refitted weights, and the FLOPs that were spent.
    """
    num_batches = stage.run.resize.refit_batches
    if not num_batches:
        return state, 0.0
    params, total = state.params, None
    for i in range(num_batches):
        moments = stage.moments(params, make_batch(i))
        total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    flops_per_token = stage.sizes["flops"] + sum(
        2 * moment.size for moment in jax.tree.leaves(total)
    )
    current, weights = host_gates(params["gates"]), jax.device_get(params["params"])
    names = stage.names["params"]
    weights = refit(weights, names, current, closed, jax.device_get(total))
    params = stage.place({**params, "params": weights})
    state = dataclasses.replace(state, params=params)
    data = stage.run.data
    flops = num_batches * data.batch_size * data.seq_len * flops_per_token
    return state, float(flops)


def cut_state(
    stage: Stage, state: TrainState, closed: Gates, plan: Plan, bits: Bits | None = None
) -> tuple[Stage, TrainState]:
    """Folds the gates, cuts what is closed out of everything, and opens the rest.

    Args:
        stage: The stage that ends.
        state: Its last state.
        closed: Gates with which the model is to be equal, 0 for what goes.
        plan: What stays, made from `closed`.
        bits: Bits of the units before the cut; None for those that they have.
    """
    names, state = stage.names, jax.device_get(state)

    def shrink(weights: PyTree) -> PyTree:
        return cut(fold(weights, names["params"], closed), names["params"], plan)

    kept_gates = cut(state.params["gates"], names["gates"], plan)
    params = {
        "params": shrink(state.params["params"]),
        "gates": jax.tree.map(np.ones_like, kept_gates),
    }
    model = config_of(stage.model, params["params"])
    kept_bits = flatten(
        cut(
            unflatten(dict(bits or stage.bits)),
            precision_names(names["params"])["bits"],
            plan,
        )
    )
    if plan.is_empty:
        next_stage = stage.with_bits(kept_bits)
    else:
        next_stage = Stage(
            stage.run, model, stage.special, stage.start_sizes, kept_bits
        )
    opt_state = fold_moments(state.opt_state, names, closed)
    next_state = TrainState(
        step=state.step,
        params=params,
        opt_state=carry_state(next_stage.tx, opt_state, params, names, plan),
        ema=None if state.ema is None else shrink(state.ema),
        precision=state.precision and next_stage.no_rounding,
    )
    return next_stage, next_stage.place(round_state(next_stage, next_state))


def _why_not(
    stage: Stage, decision: Decision, plan: Plan, step: int, index: int
) -> str:
    """Returns the reason to leave a seam out, or nothing.

    The last seam of a budget is always taken: a budget is a promise.
    """
    run = stage.run
    if plan.is_empty:  # Other bits are the same program.
        return "" if _has_other_bits(stage, decision) else "nothing goes"
    num_seams = len(run.seam_steps)
    if run.objective.has_budget and index == num_seams - 1:
        return ""
    saved = stage.sizes["flops"] - float(stage.size_fn("flops")(decision.gates))
    tokens = run.data.batch_size * run.data.seq_len * (run.train.num_steps - step)
    pays = 3 * saved * tokens > run.resize.compile_allowance_flops
    return "" if pays else "saves less than it costs"


def _count_bits(decision: Decision, plan: Plan, stage: Stage) -> dict[str, int]:
    """Returns how many units that stay have how many bits; nothing without bits."""
    if not stage.run.quantize.is_on:
        return {}
    names = precision_names(stage.names["params"])["bits"]
    bits = flatten(cut(unflatten(dict(decision.bits or stage.bits)), names, plan))
    values, counts = np.unique(np.concatenate(list(bits.values())), return_counts=True)
    return {str(b): int(n) for b, n in zip(values, counts, strict=True)}


def _has_other_bits(stage: Stage, decision: Decision) -> bool:
    bits = decision.bits or stage.bits
    return any((own != stage.bits[key]).any() for key, own in bits.items())


def _verify(
    stage: Stage,
    state: TrainState,
    closed: Gates,
    next_stage: Stage,
    next_state: TrainState,
    batch: PyTree,
) -> dict[str, float]:
    """Compares the closed model with the cut one, in float32.

    Raises:
        ArithmeticError: If they are not equal, which is a fault of this library.
    """
    gates = unflatten({p: jnp.asarray(g, jnp.float32) for p, g in closed.items()})
    tokens = jnp.asarray(np.asarray(batch["tokens"])[:VERIFIED_ROWS])
    one = stage.logits({"params": state.params["params"], "gates": gates}, tokens)
    other = next_stage.logits(next_state.params, tokens)
    difference = float(np.max(np.abs(np.asarray(one) - np.asarray(other))))
    if not difference <= CLOSED_IS_CUT:
        raise ArithmeticError(f"closed and cut logits differ by {difference}")
    return {"closed_cut_max_abs_diff": difference}


def _describe(
    stage: Stage, state: TrainState, decision: Decision, plan: Plan
) -> dict[str, Any]:
    """Returns what was decided; costs that are no nats predict no loss."""
    alpha, predicted = decision.alpha, decision.predicted_loss_change
    if stage.strategy.read_alpha is not None:
        alpha = stage.strategy.read_alpha(state.opt_state)
        alpha = stage.run.objective.alpha if alpha is None else alpha
        predicted = None
    measures = stage.run.objective.measures
    alphas = dict(zip(measures, decision.alphas.tolist(), strict=True))
    return {
        "step": int(state.step),
        "alpha": alpha,
        "alphas": alphas if len(measures) > 1 else dict.fromkeys(measures, alpha),
        "predicted_loss_change": predicted,
        "closed": plan.count_closed(),
        "bits": _count_bits(decision, plan, stage),
        "strategy": stage.run.objective.strategy,
    } | _sizes(stage, "before")


def _sizes(stage: Stage, when: str) -> dict[str, float]:
    names = {"params": "params", "flops": "flops_per_token", "bytes": "bytes"}
    return {f"{name}_{when}": stage.sizes[key] for key, name in names.items()}


def describe_loss_change(entry: dict[str, Any]) -> str:
    """Returns the loss changes of a seam in words; not all strategies predict one."""
    text = f"loss {entry['true_loss_change']:+.3f}"
    predicted = entry["predicted_loss_change"]
    return text if predicted is None else f"{text} (predicted {predicted:+.3f})"
