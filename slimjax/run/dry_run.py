"""What a run would be, told without compiling or writing anything."""

from typing import Any

from slimjax.data.tokenizer import load_tokenizer
from slimjax.distill.alignment import alignment_flops
from slimjax.distill.outcome_store import record_type
from slimjax.distill.teacher import flops_per_token
from slimjax.generate.model import read_model_config
from slimjax.models.config import ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import MEASURES, make_size_fn, parse_measure
from slimjax.run.feasible import check_budget
from slimjax.run.loop import vocab_size_of
from slimjax.run.teaching import check_teacher
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig

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
    inventory = take_inventory(
        abstract_variables(model), model.uses({"": run.data.seq_len})
    )
    gates = inventory.open_gates()
    sizes = {m: float(make_size_fn(m, inventory)(gates)) for m in MEASURES}
    tokens = run.train.num_steps * run.data.batch_size * run.data.seq_len
    measures = run.objective.measures
    wholes = {m: float(make_size_fn(m, inventory)(gates)) for m in measures}
    goals = dict.fromkeys(wholes) | run.objective.budget_sizes(wholes)
    goals |= {m: None for m in measures if LATENCY in parse_measure(m)}  # Not measured.
    teacher = describe_teacher(run, model)
    spent = 3 * sizes["flops"] * tokens + teacher.get("teacher_flops", 0.0)
    return {
        "params": sizes["params"],
        "flops_per_token": sizes["flops"],
        "bytes": sizes["bytes"],
        "kv_bytes_per_token": sizes["kv_bytes"],
        "state_bytes": STATE_BYTES * sizes["params"],
        "tokens": tokens,
        "flops_total_without_seams": spent,
        **teacher,
        "seam_steps": list(run.seam_steps),
    } | {f"budget_{measure}": goal for measure, goal in goals.items()}


def describe_teacher(run: RunConfig, model: ModelConfig) -> dict[str, Any]:
    """Returns the most that a teacher costs; nothing where there is none.

    A teacher ``start`` is reckoned from the first seam on, as if that were taken; one
    whose outcomes are kept, as if no row came twice.
    """
    distill, data = run.distill, run.data
    if not distill.is_on:
        return {}
    teacher, first = model, distill.first_step
    if distill.folder is None:
        first = max(first, run.seam_steps[0])
    else:
        folder = RunFolder(distill.folder)
        teacher = read_model_config(folder, load_tokenizer(folder.tokenizer).vocab_size)
    rows = max(run.train.num_steps - first, 0) * data.batch_size
    flops = flops_per_token(teacher, data.seq_len)
    if distill.aligns:
        maps = len(model.layers), model.width, teacher.width
        flops += 3 * alignment_flops(*maps)
    described: dict[str, Any] = {"teacher_flops": rows * data.seq_len * flops}
    if distill.keeps_outcomes:
        record = record_type(data.seq_len, distill.top_k, teacher.vocab_size)
        described |= {"teacher_cache_bytes": rows * record.itemsize}
    return described
