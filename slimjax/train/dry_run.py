"""What a run would be, told without compiling or writing anything."""

from typing import Any

from slimjax.models.decoder import abstract_variables
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import MEASURES, make_size_fn, parse_measure
from slimjax.train.config import RunConfig, check_budget
from slimjax.train.loop import vocab_size_of
from slimjax.train.teaching import check_teacher

STATE_BYTES = 4 * 4
"""Bytes a weight while training: itself, its gradient, two moments; float32."""


def describe(run: RunConfig) -> dict[str, Any]:
    """Returns sizes, FLOPs, memory and seams of a run.

    Raises:
        ConfigError: If the budget cannot be met, or the teacher is no finished run.
    """
    model = run.model.build(vocab_size_of(run.data))
    check_budget(run, model)
    check_teacher(run.distill, model.vocab_size)
    inventory = take_inventory(abstract_variables(model), run.data.seq_len)
    gates = inventory.open_gates()
    sizes = {m: float(make_size_fn(m, inventory)(gates)) for m in MEASURES}
    tokens = run.train.num_steps * run.data.batch_size * run.data.seq_len
    measures = run.objective.measures
    wholes = {m: float(make_size_fn(m, inventory)(gates)) for m in measures}
    goals = dict.fromkeys(wholes) | run.objective.budget_sizes(wholes)
    goals |= {m: None for m in measures if LATENCY in parse_measure(m)}  # Not measured.
    return {
        "params": sizes["params"],
        "flops_per_token": sizes["flops"],
        "bytes": sizes["bytes"],
        "kv_bytes_per_token": sizes["kv_bytes"],
        "state_bytes": STATE_BYTES * sizes["params"],
        "tokens": tokens,
        "flops_total_without_seams": 3 * sizes["flops"] * tokens,
        "seam_steps": list(run.seam_steps),
    } | {f"budget_{measure}": goal for measure, goal in goals.items()}
