"""Whether a model can meet what a config asks for, checked before it is trained."""

import dataclasses
from collections.abc import Mapping
from functools import partial

from slimjax.budget.least import least_size
from slimjax.budget.limits import Limits
from slimjax.errors import ConfigError, suggest
from slimjax.nn.quantize import LEAST_OF_VECTORS, is_matrix
from slimjax.objective.inventory import Inventory, uniform_bits
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import MEASURES, SizeFn, make_size_fn, parse_measure
from slimjax.objective.towers import MAIN
from slimjax.run.latency_clock import check_kind
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import CHOOSES_BITS, RunConfig
from slimjax.train.dividing import EVEN

ROUNDING = 1e-6
"""Part of a budget by which a size may exceed it: sums in another order."""


def check_budget(blueprint: Blueprint) -> None:
    """Refuses budgets above the starting model or below the smallest one.

    Measures that the model has nothing of are refused, too, and choices of bits that
    leave none for some weights.

    Args:
        blueprint: The model that the run starts from. Without a table of latencies,
            which are measured later, budgets of latency are not checked.

    Raises:
        ConfigError: Naming the tightest limit, the size of the model and the least
            possible; or a frozen part that the model does not have.
    """
    run, inventory = blueprint.run, blueprint.inventory
    limits = run.resize.limits(cautious=False)
    check_measures(blueprint)
    check_bits(blueprint)
    check_frozen(limits, inventory)
    check_division(run.objective.division, blueprint)
    if not run.objective.has_budget:
        return
    size_fns, wholes = _measure(run, inventory)
    is_known = lambda m: blueprint.latency is not None or not _is_timed(m)
    known = [m for m in run.objective.measures if is_known(m)]
    budgets = run.objective.budget_sizes(wholes)
    budgets = {measure: budgets[measure] for measure in known}
    asked, fewest = run.objective.describe_budgets(), min(run.quantize.bits)
    _check_above(asked, budgets, wholes)
    bits = uniform_bits(inventory, fewest)
    size_at_least = lambda m: least_size(
        inventory, partial(size_fns[m], bits=bits), limits
    )
    _check_below(asked, budgets, {m: size_at_least(m) for m in known})


def check_measures(blueprint: Blueprint) -> None:
    """Refuses to count what a model does not have, such as a cache.

    Latency is refused where the model cannot be timed, unless a table of it is given.

    Raises:
        ConfigError: Naming the setting, and what the model has.
    """
    objective, inventory = blueprint.run.objective, blueprint.inventory
    is_given = blueprint.latency is not None or objective.latency_table
    is_timed = is_given and blueprint.model.vocab_size
    if objective.counts_latency and not is_timed:
        check_kind(blueprint.model)
    counted = {name for m in objective.measures for name in parse_measure(m)}
    opened, plain = inventory.open_gates(), [m for m in MEASURES if m in counted]
    missing = [m for m in plain if not make_size_fn(m, inventory)(opened)]
    if not missing:
        return
    name = "budgets" if objective.budgets else "size"
    known = [m for m in MEASURES if m not in missing]
    why = ": it keeps no cache of keys and values" if "kv_bytes" in missing else ""
    raise ConfigError(
        f"config.objective.{name}={getattr(objective, name)!r}: this model has no "
        f"{missing[0]}{why}. Take {', '.join(known[:-1])} or {known[-1]}."
    )


def check_bits(blueprint: Blueprint) -> None:
    """Refuses a choice among bits of which norms and biases can have none.

    Raises:
        ConfigError: Naming the bits, and those that are missing.
    """
    run, inventory = blueprint.run, blueprint.inventory
    chosen = run.quantize.chooses and run.objective.strategy in CHOOSES_BITS
    has_vectors = any(not is_matrix(leaf.axes) for leaf in inventory.leaves)
    if chosen and has_vectors and run.quantize.start < LEAST_OF_VECTORS:
        raise ConfigError(
            f"config.quantize.bits={list(run.quantize.bits)} leaves no choice for "
            f"norms and biases, which have {LEAST_OF_VECTORS} bits or more. Set "
            f"config.quantize.bits={[LEAST_OF_VECTORS, *run.quantize.bits]}."
        )


def check_branch_budget(blueprint: Blueprint, step: int, num_seams: int) -> None:
    """Refuses budgets that a run which starts from another one cannot meet.

    Its percentages are of the model that the other run started from.

    Args:
        blueprint: The model that it goes on with.
        step: Steps taken.
        num_seams: Seams of its config that lie behind it.

    Raises:
        ConfigError: Naming the first seam, if all are behind it and the model is too
            large; or the limit and the least possible.
    """
    run, inventory = blueprint.run, blueprint.inventory
    objective, limits = run.objective, run.resize.limits(cautious=False)
    if not objective.has_budget:
        return
    budgets, now = objective.budget_sizes(blueprint.start_sizes), blueprint.sizes
    over = [m for m, budget in budgets.items() if now[m] > budget * (1 + ROUNDING)]
    if over and num_seams >= len(run.seam_steps):
        raise ConfigError(
            f"config.resize.first_step={run.resize.first_step}: all seams lie before "
            f"step {step}, at which this run continues with "
            f"{_amount(now[over[0]], over[0])}, more than "
            f"{objective.describe_budgets()}. Set it above {step}."
        )
    bits = uniform_bits(inventory, min(run.quantize.bits))
    size_fns = {m: partial(blueprint.size_fn(m), bits=bits) for m in over}
    leasts = {m: least_size(inventory, fn, limits) for m, fn in size_fns.items()}
    asked = objective.describe_budgets()
    _check_below(asked, {m: budgets[m] for m in over}, leasts)


def check_frozen(limits: Limits, inventory: Inventory) -> None:
    """Refuses to freeze what is not there.

    Raises:
        ConfigError: Naming it, and what comes nearest.
    """
    for pattern in limits.frozen:
        only = dataclasses.replace(limits, frozen=(pattern,))
        if not any(only.is_frozen(path) for path in inventory.gates):
            names = [".".join(path) for path in inventory.gates]
            raise ConfigError(
                f"config.resize.frozen: {pattern!r} is no part of the model. "
                f"{suggest(pattern, names)}"
            )


def check_division(division: str, blueprint: Blueprint) -> None:
    """Refuses to divide a budget between towers that are not there.

    Raises:
        ConfigError: Naming the towers of the model.
    """
    names = [tower.name or MAIN for tower in blueprint.model.towers]
    known = (EVEN, *names) if len(names) > 1 else ()
    if division and division not in known:
        raise ConfigError(
            f"config.objective.division={division!r} divides a budget between towers; "
            f"those of this model are {', '.join(names)}. {suggest(division, known)}"
        )


def least_of(blueprint: Blueprint) -> float:
    """Returns the least size that a run's model can be cut to, in its measure."""
    run, inventory = blueprint.run, blueprint.inventory
    size_fn = _measure(run, inventory)[0][run.objective.size]
    bits = uniform_bits(inventory, min(run.quantize.bits))
    limits = run.resize.limits(cautious=False)
    return least_size(inventory, partial(size_fn, bits=bits), limits)


def _is_timed(measure: str) -> bool:
    return LATENCY in parse_measure(measure)


def _measure(
    run: RunConfig, inventory: Inventory
) -> tuple[dict[str, SizeFn], dict[str, float]]:
    """Returns the functions to sizes, and the starting model's, by measure."""
    group_size = run.quantize.group_size
    opened, bits = inventory.open_gates(), uniform_bits(inventory, run.quantize.start)
    plain = (*MEASURES, LATENCY) if run.objective.counts_latency else MEASURES
    size_fns: dict[str, SizeFn] = {}
    wholes: dict[str, float] = {}
    for measure in (*plain, *run.objective.measures):
        fn = make_size_fn(measure, inventory, group_size, wholes)
        size_fns[measure], wholes[measure] = fn, float(fn(opened, bits))
    return size_fns, wholes


def _check_above(
    asked: str, budgets: Mapping[str, float], wholes: Mapping[str, float]
) -> None:
    for measure, budget in budgets.items():
        if budget > wholes[measure]:
            raise ConfigError(
                f"{asked} is more than the model has: "
                f"{_amount(wholes[measure], measure)}. Ask for less, or for a larger "
                "model."
            )


def _check_below(
    asked: str, budgets: Mapping[str, float], leasts: Mapping[str, float]
) -> None:
    short = {m: leasts[m] / budgets[m] for m in budgets if budgets[m] < leasts[m]}
    if short:
        tightest = max(short, key=lambda measure: short[measure])
        raise ConfigError(
            f"{asked} is less than what must stay: "
            f"{_amount(leasts[tightest], tightest)} with embeddings, norms, minima and "
            "frozen parts. Ask for more, or for a smaller vocabulary or width."
        )


def _amount(size: float, measure: str) -> str:
    """Returns a size in words; sums of measures are parts of the start."""
    if measure == LATENCY:
        return f"{size:.4g} seconds a token"
    return f"{size:,.0f} {measure}" if measure in MEASURES else f"{size:.4f} {measure}"
