"""A seam: between two stages, on the host, the model changes its size.

    measure costs -> decide -> close -> refit -> fold -> cut -> verify

With bits to choose, what stays is then rounded to its levels.

It is a function of the state and the config alone: killed in the middle, it is done
again, the same, from the checkpoint before it. Decisions reckon with counted FLOPs,
never with a clock.
"""

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax import processes
from slimjax.budget.decision import Decision
from slimjax.budget.kinds import list_kinds
from slimjax.budget.units import Gates
from slimjax.errors import InexactError
from slimjax.nn.quantize import precision_names
from slimjax.nn.readout import CLOSED
from slimjax.objective.inventory import Inventory
from slimjax.resize.plan import Change, make_plan
from slimjax.resize.shrink import cut
from slimjax.store.faults import fault_point
from slimjax.store.run_folder import LOGGED
from slimjax.strategies.base import host_gates
from slimjax.train.blueprint import Blueprint
from slimjax.train.cutting import cut_state, refit_state
from slimjax.train.decide import decide, round_digits
from slimjax.train.history import History
from slimjax.train.pricing import prices_by_measure
from slimjax.train.probe import Probe
from slimjax.train.seam_record import SeamRecord
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import flatten, hash_tree, unflatten

VERIFIED_ROWS, VERIFIED_LENGTH = 2, 256
"""Rows and positions on which the closed and the cut model are compared."""

CLOSED_IS_CUT = 1e-4
"""Largest difference of logits, float32, relative to the largest of them or to 1.

Sums in another order make it, and it grows with what is summed."""

CALIBRATIONS = (0.25, 4.0)
"""Least and largest correction of costs: one seam's loss change is a noisy measure."""


def take_seam(
    stage: Stage,
    state: TrainState,
    make_batch: Callable[[int], PyTree],
    history: History,
) -> tuple[Stage, TrainState, SeamRecord]:
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
    start, batch = time.perf_counter(), make_batch(0)
    fixed = stage.deterministic(state)
    probe = Probe(stage, fixed.variables, batch)
    before = probe({})
    state, fixed = (stage.layout.place_unstacked(s) for s in (state, fixed))
    decision = decide(stage.blueprint, state, probe, history)
    check_agreement(decision, int(state.step))
    current = host_gates(fixed.params["gates"])
    closed = {path: current[path] * decision.gates[path] for path in current}
    plan = make_plan(decision.gates)
    fault_point("seam-inside")

    record = _describe(stage.blueprint, state, decision, plan, history)
    if not record.taken:
        return stage, stage.place(state), _finish(record, stage, probe.flops, start)
    state, refit_flops = refit_state(stage, fixed, closed, make_batch)
    next_stage, next_state = cut_state(
        stage,
        state,
        closed,
        plan,
        decision.bits,
        learns_bits=stage.blueprint.run.learns_bits(history.num_seams + 1),
    )
    after = Probe(next_stage, next_state.variables, batch)
    record = dataclasses.replace(
        record,
        true_loss_change=after({}) - before,
        closed_cut_max_abs_diff=_verify(
            stage, state, closed, next_stage, next_state, batch
        ),
        gone=kinds_gone(stage.blueprint.inventory, next_stage.blueprint.inventory),
    )
    flops = probe.flops + after.flops + refit_flops
    return next_stage, next_state, _finish(record, next_stage, flops, start)


def _finish(record: SeamRecord, stage: Stage, flops: float, start: float) -> SeamRecord:
    """Returns the record with what is known at the end of a seam."""
    blueprint = stage.blueprint
    mixed = blueprint.run.quantize.chooses  # What bits cost is no matter of units.
    return dataclasses.replace(
        record,
        after=_sizes(blueprint),
        next_calibration=record.calibration if mixed else calibrate(record),
        flops_spent=flops,
        seconds=time.perf_counter() - start,
    )


def kinds_gone(before: Inventory, after: Inventory) -> tuple[str, ...]:
    """Returns the kinds of sublayers that a seam leaves none of."""
    left = list_kinds(after)
    return tuple(
        kind.replace("*.", "") for kind in list_kinds(before) if kind not in left
    )


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


def calibrate(record: SeamRecord) -> float:
    """Returns the correction of the next seam's costs, the old one without a measure.

    A cut changes the loss by more or less than the sum of its units' costs, since they
    act together; from one seam to the next that ratio changes little.
    """
    predicted, correction = record.predicted_loss_change, record.calibration
    if not record.taken or not predicted or predicted <= 0:
        return correction
    ratio = correction * record.true_loss_change / predicted
    return float(round_digits(np.clip(ratio, *CALIBRATIONS)))


def _why_not(
    blueprint: Blueprint, decision: Decision, plan: Change, step: int, index: int
) -> str:
    """Returns the reason to leave a seam out, or nothing.

    The last seam of a budget is always taken: a budget is a promise. So is the one that
    fixes depths which were learned.
    """
    run = blueprint.run
    if blueprint.learns_bits and not run.learns_bits(index + 1):
        return ""
    if plan.is_empty:  # Other bits are the same program.
        return "" if _has_other_bits(blueprint, decision) else "nothing to remove"
    num_seams = len(run.seam_steps)
    if run.objective.has_budget and index == num_seams - 1:
        return ""
    saved = blueprint.sizes["flops"] - float(blueprint.size_fn("flops")(decision.gates))
    targets = blueprint.targets_per_step * (run.train.num_steps - step)
    pays = 3 * saved * targets > run.resize.compile_allowance_flops
    return "" if pays else "saves less than it costs"


def _count_bits(
    decision: Decision, plan: Change, blueprint: Blueprint
) -> dict[str, int]:
    """Returns how many units that stay have how many bits; nothing without bits."""
    if not blueprint.run.quantize.is_on:
        return {}
    names = precision_names(blueprint.names["params"])["bits"]
    bits = flatten(cut(unflatten(dict(decision.bits or blueprint.bits)), names, plan))
    values, counts = np.unique(np.concatenate(list(bits.values())), return_counts=True)
    return {str(b): int(n) for b, n in zip(values, counts, strict=True)}


def _has_other_bits(blueprint: Blueprint, decision: Decision) -> bool:
    bits = decision.bits or blueprint.bits
    return any((own != blueprint.bits[key]).any() for key, own in bits.items())


def _verify(
    stage: Stage,
    state: TrainState,
    closed: Gates,
    next_stage: Stage,
    next_state: TrainState,
    batch: PyTree,
) -> float:
    """Returns the largest difference between the closed and the cut model's logits.

    Both are computed in float32.

    Raises:
        InexactError: If they are not equal.
    """
    gates = {"gates": unflatten({p: np.float32(gate) for p, gate in closed.items()})}
    some = _first_part(batch, stage)
    with jax.set_mesh(stage.mesh):
        one = stage.programs.logits(stage.place({**state.params, **gates}), some)
        other = next_stage.programs.logits(next_state.params, some)
        found = [_compare(one[head], other[head]) for head in one]
    difference, part = np.max(found, axis=0)
    if not part <= CLOSED_IS_CUT:
        raise InexactError(
            f"The seam at step {int(state.step)}: logits of the closed and of the cut "
            f"model differ by {difference:.2g}, more than {CLOSED_IS_CUT:g} of the "
            "largest of them or of 1. That is a fault of slimjax or of the device, not "
            "of the config. The checkpoint of this step is whole; please report it "
            "with config.json."
        )
    return float(difference)


def _compare(one: jax.Array, other: jax.Array) -> tuple[float, float]:
    """Returns the largest difference of two arrays of logits, and as a part.

    It is the part of the largest logit of a class that is open, or of 1. Logits that
    are no numbers have no part.
    """
    difference = jnp.max(jnp.abs(one - other))
    largest = jnp.max(jnp.abs(one), where=one > CLOSED / 2, initial=1.0)
    return float(difference), float(difference / largest)


def _first_part(batch: PyTree, stage: Stage) -> PyTree:
    """Returns some rows of a batch, and some of their positions."""
    rows, positions = slice(VERIFIED_ROWS), slice(VERIFIED_LENGTH)

    def take(name: str, array: jax.Array) -> jax.Array:
        axes = stage.blueprint.outline.fields[name].axes
        within = (positions if axis == "positions" else slice(None) for axis in axes)
        return array[(rows, *within)]

    return {name: take(name, array) for name, array in batch.items()}


def _describe(
    blueprint: Blueprint,
    state: TrainState,
    decision: Decision,
    plan: Change,
    history: History,
) -> SeamRecord:
    """Returns what was decided; costs that are no nats predict no loss, no price."""
    step, run = int(state.step), blueprint.run
    strategy, alpha = blueprint.strategy, run.objective.alpha or None
    measures, predicted = run.objective.measures, None
    if not strategy.costs_are_nats and strategy.read_alpha is not None:
        found = strategy.read_alpha(state.opt_state)
        alpha = alpha if found is None else found
    alphas: dict[str, float | None] = dict.fromkeys(measures)
    if strategy.costs_are_nats:
        alpha, predicted = decision.alpha, decision.predicted_loss_change
        alphas |= zip(measures, decision.alphas.tolist(), strict=True)
    elif alpha is not None:
        prices = prices_by_measure(blueprint, alpha)
        alphas.update(prices)
        alpha = sum(prices.values())
    reason = _why_not(blueprint, decision, plan, step, history.num_seams)
    return SeamRecord(
        step=step,
        strategy=run.objective.strategy,
        taken=not reason,
        reason=reason or "pays",
        alpha=alpha,
        alphas=alphas,
        predicted_loss_change=predicted,
        calibration=history.calibration,
        closed=plan.count_closed(),
        bits=_count_bits(decision, plan, blueprint),
        before=_sizes(blueprint),
        keeps_division=decision.keeps_rule if run.objective.division else None,
    )


def _sizes(blueprint: Blueprint) -> dict[str, float]:
    return {name: blueprint.sizes[key] for key, name in LOGGED.items()}
