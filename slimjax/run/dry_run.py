"""What a run would be, without compiling or writing anything."""

from typing import Any

from slimjax import tasks
from slimjax.data.codecs import load_codecs
from slimjax.data.dataset import Dataset
from slimjax.data.overview import describe_examples
from slimjax.distill.alignment import alignment_flops
from slimjax.distill.outcome_store import record_type
from slimjax.distill.teacher import flops_per_target
from slimjax.generate.stored import read_model_config
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import MEASURES, make_size_fn, parse_measure
from slimjax.run.blueprints import expected_outline, make_blueprint
from slimjax.run.feasible import check_budget
from slimjax.run.init_shape import input_codecs, take_shape
from slimjax.run.teaching import check_answers, check_teacher
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, with_num_steps


def describe(run: RunConfig) -> dict[str, Any]:
    """Returns sizes, FLOPs, memory and seams of a run, and what labelled data hold.

    Raises:
        ConfigError: If the budget cannot be met, or the teacher is no finished run.
        DataError: If labelled data cannot be read.
    """
    run = take_shape(run)
    data = load_examples(run)
    if data is None:
        outline = expected_outline(run) or load_data(run).outline
    else:
        outline, run = data.outline, with_num_steps(run, data.num_rows("train"))
    blueprint = make_blueprint(run, outline)
    check_budget(blueprint)
    check_teacher(run)
    check_answers(run.distill, blueprint.model.heads)
    inventory = blueprint.inventory
    gates = inventory.open_gates()
    sizes = {m: float(make_size_fn(m, inventory)(gates)) for m in MEASURES}
    targets = run.train.num_steps * blueprint.targets_per_step
    measures = run.objective.measures
    wholes = {m: float(make_size_fn(m, inventory)(gates)) for m in measures}
    goals = dict.fromkeys(wholes) | run.objective.budget_sizes(wholes)
    goals |= {m: None for m in measures if LATENCY in parse_measure(m)}  # Not measured.
    teacher = describe_teacher(blueprint)
    spent = 3 * sizes["flops"] * targets + teacher.get("teacher_flops", 0.0)
    of_steps = {
        "tokens": run.train.num_steps * blueprint.positions_per_step,
        "flops_total_without_seams": spent,
        **teacher,
    }
    if run.train.num_epochs and data is None:  # They depend on data that are not read.
        of_steps = {"num_epochs": run.train.num_epochs} | dict.fromkeys(of_steps)
    return {
        "params": sizes["params"],
        "flops_per_token": sizes["flops"],
        "bytes": sizes["bytes"],
        "kv_bytes_per_token": sizes["kv_bytes"],
        "state_bytes": run.optim.bytes_per_weight * sizes["params"],
        **of_steps,
        "seam_steps": list(run.seam_steps),
        **{f"budget_{measure}": goal for measure, goal in goals.items()},
        **(describe_examples(data) if data else {}),
    }


def load_examples(run: RunConfig) -> Dataset | None:
    """Reads the data of a task that has labelled examples."""
    return load_data(run) if hasattr(tasks.get(run.task), "schema") else None


def load_data(run: RunConfig) -> Dataset:
    """Reads the data of any task."""
    codecs = input_codecs(run) or None
    return tasks.get(run.task).load(run.data, codecs=codecs, head=run.head)


def describe_teacher(blueprint: Blueprint) -> dict[str, Any]:
    """Returns the most that a teacher costs; nothing where there is none.

    A teacher ``start`` is reckoned from the first seam on, as if that were taken; one
    whose outcomes are kept, as if no row came twice.
    """
    run, model = blueprint.run, blueprint.model
    distill, lengths = run.distill, blueprint.outline.priced_lengths
    if not distill.is_on:
        return {}
    teacher, first = model, distill.first_step
    if blueprint.peer is not None:
        of_step = blueprint.targets_per_step * flops_per_target(blueprint.peer, lengths)
        return {"teacher_flops": 3 * run.train.num_steps * of_step}
    if distill.folder is None:
        first = max(first, run.seam_steps[0])
    else:
        folder = RunFolder(distill.folder)
        teacher = read_model_config(folder, load_codecs(folder.tokenizer))
    steps = max(run.train.num_steps - first, 0)
    flops = flops_per_target(teacher, lengths)
    if distill.aligns:
        maps = model.num_layers, model.width, teacher.width
        flops += 3 * alignment_flops(*maps)
    described: dict[str, Any] = {
        "teacher_flops": steps * blueprint.targets_per_step * flops
    }
    if distill.keeps_outcomes:
        record = record_type(
            blueprint.outline.length, distill.top_k, teacher.vocab_size
        )
        described |= {
            "teacher_cache_bytes": steps * run.data.batch_size * record.itemsize
        }
    return described
