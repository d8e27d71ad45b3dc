"""A seam: between two stages, on the host, the model changes its size.

    judge the units -> decide who goes -> close -> refit -> fold -> cut -> verify

with bits to choose, what stays is then rounded to its levels.

It is a function of the state and the config alone: killed in the middle, it is done
again, the same, from the checkpoint before it. Decisions reckon with counted FLOPs,
never with a clock.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax import processes
from slimjax.nn.quantize import precision_names
from slimjax.objective.decision import Decision
from slimjax.objective.units import Gates
from slimjax.resize.plan import Plan, make_plan
from slimjax.resize.shrink import cut
from slimjax.store.faults import fault_point
from slimjax.strategies.base import host_gates
from slimjax.train.cutting import cut_state, refit_state
from slimjax.train.decide import decide, round_digits
from slimjax.train.history import History
from slimjax.train.probe import Probe
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import flatten, hash_tree, unflatten

VERIFIED_ROWS, VERIFIED_LENGTH = 2, 256
"""Tokens on which the logits of the closed and the cut model are compared."""

CLOSED_IS_CUT = 1e-4
"""Largest difference of logits, float32, that sums in another order may make."""

CALIBRATIONS = (0.25, 4.0)
"""Least and largest correction of costs: one seam's loss change is a noisy measure."""


def take_seam(
    stage: Stage,
    state: TrainState,
    make_batch: Callable[[int], PyTree],
    history: History,
) -> tuple[Stage, TrainState, dict[str, Any]]:
    """Makes the model smaller, if that pays.

    Args:
        stage: The stage that ends here.
        state: The state at its end.
        make_batch: Returns the i-th batch of training rows to measure on; losses are
            probed on the first.
        history: What the seams before were like.

    Returns:
        The next stage (or the same), the state in it, and what to log.
    """
    start = time.perf_counter()
    step, index = int(state.step), history.num_seams
    batch, settled = make_batch(0), stage.settle(state)
    probe = Probe(stage, settled.variables, batch)
    before = probe({})
    state, settled = (stage.layout.place_apart(s) for s in (state, settled))
    decision = decide(stage, state, probe, history)
    check_agreement(decision, step)
    current = host_gates(settled.params["gates"])
    closed = {path: current[path] * decision.gates[path] for path in current}
    plan, flops = make_plan(decision.gates), probe.flops
    fault_point("seam-inside")

    record = _describe(stage, state, decision, plan, history)
    reason = _why_not(stage, decision, plan, step, index)
    record |= {"taken": not reason, "reason": reason or "pays"}
    if reason:
        record |= {"true_loss_change": 0.0} | _sizes(stage, "after")
        next_stage, next_state = stage, stage.place(state)
    else:
        state, refit_flops = refit_state(stage, settled, closed, make_batch)
        next_stage, next_state = cut_state(
            stage,
            state,
            closed,
            plan,
            decision.bits,
            learns_bits=stage.run.learns_bits(index + 1),
        )
        after = Probe(next_stage, next_state.variables, batch)
        record |= {"true_loss_change": after({}) - before}
        record |= _verify(stage, state, closed, next_stage, next_state, batch)
        record |= _sizes(next_stage, "after")
        flops += after.flops + refit_flops
    mixed = stage.run.quantize.chooses  # What bits cost is no matter of units.
    correction = history.calibration if mixed else calibrate(record)
    record |= {"next_calibration": correction}
    record |= {"flops_spent": flops, "seconds": time.perf_counter() - start}
    return next_stage, next_state, record


def check_agreement(decision: Decision, step: int) -> None:
    """Refuses to cut if processes have decided differently: each one decides by itself.

    What they decide by is computed by all devices together, and the same on all.

    Raises:
        ProcessError: Naming those that differ from process 0.
    """
    chosen = {"gates": unflatten(dict(decision.gates))}
    if decision.bits is not None:
        chosen["bits"] = unflatten(dict(decision.bits))
    processes.agree(f"the decision of the seam at step {step}", hash_tree(chosen))


def calibrate(record: dict[str, Any]) -> float:
    """Returns the correction of the next seam's costs, the old one where none is told.

    A cut changes the loss by more or less than the sum of its units' costs, since they
    act together; from one seam to the next that ratio changes little.

    Examples:
        >>> seam = {"taken": True, "calibration": 0.5, "predicted_loss_change": 0.1}
        >>> calibrate(seam | {"true_loss_change": 0.2})
        1.0
    """
    predicted, correction = record["predicted_loss_change"], record["calibration"]
    if not record["taken"] or not predicted or predicted <= 0:
        return correction
    ratio = correction * record["true_loss_change"] / predicted
    return float(round_digits(np.clip(ratio, *CALIBRATIONS)))


def _why_not(
    stage: Stage, decision: Decision, plan: Plan, step: int, index: int
) -> str:
    """Returns the reason to leave a seam out, or nothing.

    The last seam of a budget is always taken: a budget is a promise. So is the one that
    settles depths which were learned.
    """
    run = stage.run
    if stage.learns_bits and not run.learns_bits(index + 1):
        return ""
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
    gates = {"gates": unflatten({p: np.float32(gate) for p, gate in closed.items()})}
    tokens = batch["tokens"][:VERIFIED_ROWS, :VERIFIED_LENGTH]
    with jax.set_mesh(stage.mesh):
        one = stage.logits(stage.place({**state.params, **gates}), tokens)
        other = next_stage.logits(next_state.params, tokens)
        difference = float(jnp.max(jnp.abs(one - other)))
    if not difference <= CLOSED_IS_CUT:
        raise ArithmeticError(f"closed and cut logits differ by {difference}")
    return {"closed_cut_max_abs_diff": difference}


def _describe(
    stage: Stage, state: TrainState, decision: Decision, plan: Plan, history: History
) -> dict[str, Any]:
    """Returns what was decided; costs that are no nats predict no loss, no price."""
    strategy, alpha = stage.strategy, stage.run.objective.alpha or None
    predicted = None
    if strategy.costs_are_nats:
        alpha, predicted = decision.alpha, decision.predicted_loss_change
    elif strategy.read_alpha is not None:
        found = strategy.read_alpha(state.opt_state)
        alpha = alpha if found is None else found
    measures = stage.run.objective.measures
    alphas = dict(zip(measures, decision.alphas.tolist(), strict=True))
    return {
        "step": int(state.step),
        "alpha": alpha,
        "alphas": alphas if len(measures) > 1 else dict.fromkeys(measures, alpha),
        "predicted_loss_change": predicted,
        "calibration": history.calibration,
        "closed": plan.count_closed(),
        "bits": _count_bits(decision, plan, stage),
        "strategy": stage.run.objective.strategy,
    } | _sizes(stage, "before")


def _sizes(stage: Stage, when: str) -> dict[str, float]:
    names = {"params": "params", "flops": "flops_per_token", "bytes": "bytes"}
    return {f"{name}_{when}": stage.sizes[key] for key, name in names.items()}
