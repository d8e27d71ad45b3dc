"""``report.json``: what came out of a run, and what it cost."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import PyTree

from slimjax.data.codecs import fingerprints
from slimjax.data.dataset import Dataset
from slimjax.metrics.extra import is_known
from slimjax.nn.axes import to_host
from slimjax.objective.latency import LATENCY
from slimjax.run.accounting import describe_time
from slimjax.run.answered_images import write_images
from slimjax.run.code_length import describe_length
from slimjax.run.domains import describe_domains
from slimjax.run.environment import machine, versions
from slimjax.run.evaluate import evaluate, make_writer, nothing_measured
from slimjax.run.evaluation import (
    Evaluation,
    describe_split,
    input_names,
    write_files,
    write_losses_of,
)
from slimjax.run.finished import finish_weights, variables_to_write
from slimjax.run.patience import is_over
from slimjax.run.samples import make_samples
from slimjax.run.speed import compare_speed
from slimjax.run.taught_rows import flops_here
from slimjax.run.towers import describe_towers
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import Metric, Task
from slimjax.train.blueprint import Blueprint
from slimjax.train.history import History
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import hash_tree


def make_report(
    stage: Stage,
    state: TrainState,
    data: Dataset,
    history: History,
    folder: RunFolder,
    *,
    measured: bool = True,
) -> dict[str, Any]:
    """Evaluates and packs the finished model and returns the content of the report.

    The error is that of the packed weights, which is what a user gets.

    Args:
        stage: The last one.
        state: The state at its end.
        data: What it has learned from.
        history: The stages, and what was spent.
        folder: Where files are written.
        measured: Whether error, speed and samples are asked for. A run that others
            continue can do without.
    """
    blueprint, run = stage.blueprint, stage.blueprint.run
    variables, packed_bytes = finish_weights(stage, state, folder.packed)
    writes = measured and blueprint.task.generates
    apart = variables_to_write(stage, variables) if writes else None
    valid = test = nothing_measured(blueprint.task)
    if measured:
        valid, test = _evaluate_splits(stage, variables, apart, data, folder)
    lengths = {}
    if run.objective.report_in == "bits":
        length = describe_length(stage, variables, data, history, folder, packed_bytes)
        lengths = {"description_length": length}
    samples = _make_samples(blueprint, apart, data) if writes else []
    training = _describe_training(blueprint, history, folder)
    speed = compare_speed(stage, history, data) if measured else None
    positions = blueprint.positions_per_step
    stages = [record.summary(positions) for record in history.stages]
    return {
        "task": run.task,
        "error": describe_error(valid, test),
        "metrics": describe_metrics(blueprint.task, valid, test),
        "size": describe_sizes(blueprint, history, valid, packed_bytes),
        **lengths,
        "train": training | {"speed": speed},
        "stages": stages,
        **describe_domains(blueprint, data, valid.domains, test.domains),
        "data": describe_data(data),
        "init_from": history.init_from,
        "strategy": run.objective.strategy,
        "seed": run.seed,
        "config_hash": run.hash(),
        "state_hash": hash_tree(state, to_host),
        "samples": samples,
        "versions": versions(),
        "machine": machine(),
    }


def _make_samples(blueprint: Blueprint, apart: PyTree, data: Dataset) -> list[Any]:
    """Returns what the model writes, as samples for the report."""
    seed = blueprint.run.seed
    return make_samples(blueprint.task, blueprint.model, apart, data, seed)


def _evaluate_splits(
    stage: Stage, variables: PyTree, apart: PyTree, data: Dataset, folder: RunFolder
) -> tuple[Evaluation, Evaluation]:
    """Returns what the packed model is worth on valid and test, and writes the files.

    Args:
        stage: The last one.
        variables: The packed model's.
        apart: The same with arrays of its own for each layer, if the task writes texts.
        data: What it has learned from.
        folder: Where files are written.
    """
    blueprint, run = stage.blueprint, stage.blueprint.run
    rounded = stage.unrounded(variables)
    valid = evaluate(stage, rounded, data, "valid", losses=True)
    options: dict[str, Any] = dict(intervals=True, answers=True, losses=True)
    if blueprint.task.generates and blueprint.task.answer is not None:
        options["write"] = make_writer(run, blueprint.model, apart, data)
    test = evaluate(stage, rounded, data, "test", **options)
    if test.answered is not None:
        described = describe_split(run.data.source, "test", test)
        write_files(folder, "test", described, test.answered, input_names(run))
        write_images(folder.root / "images-test.npz", data, "test", test.answered)
    for name, found in (("valid", valid), ("test", test)):
        write_losses_of(folder, name, found)
    return valid, test


def describe_error(valid: Evaluation, test: Evaluation) -> dict[str, float]:
    """Returns the errors and metrics of both splits as plain numbers."""
    described = {}
    for split, found in (("valid", valid), ("test", test)):
        described[f"{split}_nats_per_target"] = found.error
        described |= {f"{split}_{key}": value for key, value in found.metrics.items()}
    return described


def describe_metrics(
    task: Task, valid: Evaluation, test: Evaluation
) -> list[dict[str, Any]]:
    """Returns the metrics as data, the headline first, with intervals of the test."""

    def describe(metric: Metric) -> dict[str, Any]:
        low, high = test.intervals.get(metric.key, (None, None))
        return {
            "key": metric.key,
            "words": metric.words,
            "better": metric.better,
            "valid": valid.metrics.get(metric.key),
            "test": test.metrics.get(metric.key),
            "test_low": low,
            "test_high": high,
        }

    return [describe(metric) for metric in task.metrics if is_known(metric.key)]


def describe_data(data: Dataset) -> dict[str, Any]:
    """Returns what the report says of the data."""
    counts: dict[str, Any] = {}
    for what, numbers in data.counts.items():
        if isinstance(numbers, Mapping) and what != "skipped":
            counts |= {f"{what}_{split}": number for split, number in numbers.items()}
        else:
            counts[what] = numbers
    sizes = {f"{name}_size": size for name, size in data.sizes.items()}
    return {
        "source": data.source,
        "fingerprint": data.fingerprint,
        "notes": list(data.notes),
        "codecs": fingerprints(data.codecs),
        **sizes,
        **counts,
    }


def _describe_training(
    blueprint: Blueprint, history: History, folder: RunFolder
) -> dict[str, Any]:
    last = history.stages[-1]
    steps = last.start_step + last.num_steps
    targets, positions = blueprint.targets_per_step, blueprint.positions_per_step
    rates = [s.summary(positions)["tokens_per_s"] for s in history.stages]
    return {
        "steps": steps,
        "best_step": history.best_step,
        "stopped_early": is_over(blueprint.run, history),
        "tokens": steps * positions,
        "flops_total": history.training_flops(targets),
        "flops_inherited": history.inherited_flops,
        "teacher_flops": history.teacher_flops,
        "teacher_flops_here": flops_here(blueprint.run.distill, folder, history),
        "seconds": history.seconds,
        "compile_seconds": sum(record.compile_s for record in history.stages),
        "tokens_per_s_first_stage": rates[0],
        "tokens_per_s_last_stage": rates[-1],
        **describe_time(folder, history, targets),
        "finished": True,
    }


def describe_sizes(
    blueprint: Blueprint, history: History, valid: Evaluation, packed_bytes: int
) -> dict[str, Any]:
    """Returns sizes at the end and at the start, their prices and the complexity.

    Args:
        blueprint: That of the finished model.
        history: Knows the prices at the last seam.
        valid: What was measured on the validation split.
        packed_bytes: Size of the model file.
    """
    start = blueprint.start_sizes
    sizes = blueprint.sizes | {"bytes": packed_bytes}  # Not reckoned, but counted.
    measure = blueprint.run.objective.main_measure
    alphas = {m: a for m, a in history.prices(measure).items() if m in sizes}
    fractions = {m: sizes[m] / start[m] for m in (measure, *alphas)}
    price = sum(alpha * fractions[m] for m, alpha in alphas.items())
    latency = {}
    if LATENCY in sizes:
        latency = {"latency_s": sizes[LATENCY], "latency_s_start": start[LATENCY]}
    return (
        latency
        | describe_towers(blueprint)
        | {
            "params": int(sizes["params"]),
            "params_start": int(start["params"]),
            "params_fraction": sizes["params"] / start["params"],
            "flops_per_token": sizes["flops"],
            "flops_per_token_start": start["flops"],
            "flops_fraction": sizes["flops"] / start["flops"],
            "bytes": int(sizes["bytes"]),
            "bytes_start": int(start["bytes"]),
            "packed_file_bytes": packed_bytes,
            "kv_bytes_per_token": int(sizes["kv_bytes"]),
            "kv_bytes_per_token_start": int(start["kv_bytes"]),
            "measure": measure,
            "fraction": fractions[measure],
            "fractions": fractions,
            "alpha": float(sum(alphas.values())),
            "alphas": alphas,
            "complexity": price + valid.error,
            **_describe_rate(blueprint.task.headline, valid, price),
        }
    )


def _describe_rate(metric: Metric, valid: Evaluation, price: float) -> dict[str, float]:
    """Returns the complexity with 1 minus a headline that is a rate, such as accuracy.

    Args:
        metric: The headline.
        valid: Its value.
        price: What the size of the model costs: alpha times its fraction, summed over
            measures.
    """
    value = valid.metrics.get(metric.key)
    if not metric.is_rate or value is None:
        return {}
    return {"complexity_of_rate": price + 1.0 - value}
