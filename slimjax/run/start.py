"""The start of a run: its folder and its data are checked, then the loop begins."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimjax import processes, tasks
from slimjax.data.dataset import Dataset
from slimjax.errors import StoppedError
from slimjax.metrics.extra import describe_left_out
from slimjax.run.agreement import check_data, check_settings, check_sources
from slimjax.run.architectures import settle_architectures
from slimjax.run.augmented import change_texts
from slimjax.run.blueprints import expected_outline, make_blueprint, make_task
from slimjax.run.branch import check_branch
from slimjax.run.feasible import check_budget
from slimjax.run.init_shape import input_codecs, take_shape
from slimjax.run.loop import Loop
from slimjax.run.patience import check_rows
from slimjax.run.progress import Display
from slimjax.run.resume import begin_or_resume
from slimjax.run.room import check_memory
from slimjax.run.signals import StopRequests, interrupt
from slimjax.run.taught_rows import check_room
from slimjax.run.teaching import check_answers, check_teacher
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import Task
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, check_same_run, with_num_steps
from slimjax.train.stage import make_stage


def train(
    run: RunConfig,
    workdir: str | Path,
    *,
    display: Display,
    allow_fresh_start: bool = False,
    at_second_signal: Callable[[int], None] = interrupt,
    measured: bool = True,
    load: Callable[[RunConfig, RunFolder, Display], Dataset] | None = None,
) -> dict[str, Any]:
    """Trains and slims a model, or goes on with a run that was interrupted.

    Args:
        run: The checked config.
        workdir: The run folder; made if it is not there.
        display: Where progress is shown.
        allow_fresh_start: Whether to begin again where there are checkpoints, and none
            is whole; they are moved aside.
        at_second_signal: What a second SIGINT or SIGTERM does; by default it raises
            KeyboardInterrupt or SystemExit.
        measured: Whether error, speed and samples of the finished model are asked for.
        load: Returns the data; by default they are read.

    Returns:
        The content of ``report.json``; of a finished run, as it stands there.

    Raises:
        StoppedError: After a signal; what is done is saved.
        SlimjaxError: For all that a user can mend.
    """
    folder, start_time = RunFolder(workdir), time.perf_counter()
    with processes.together("the checks"):
        folder.check_writable()
        run = settle_architectures(take_shape(run, folder), folder)
        if folder.holds_run:
            check_same_run(read_json(folder.config), run)
            if folder.report.is_file():
                display.say(f"{folder.root} is finished; nothing to train.")
                return read_json(folder.report, dict)
        check_feasible(run)
    check_settings(run, display)
    data = (load or load_in_turn)(run, folder, display)
    check_data(data)
    check_rows(run, data)
    data = change_texts(run, data)
    run = count_steps(run, data, display)
    if expected_outline(run) is None:
        check_blueprint(make_blueprint(run, data.outline))
    check_room(run, data, display)
    name_left_out(make_task(run, data.outline), display)
    with lock(folder), StopRequests(at_second_signal) as stop:
        beginning = begin_or_resume(
            run, folder, data, display, allow_fresh_start=allow_fresh_start
        )
        check_sources(beginning[0], beginning[2])
        loop = Loop(run, folder, data, display, stop, start_time, beginning)
        report = run_to_end(loop, measured=measured)
        if stop.noticed is not None:  # It came too late to stop anything here.
            raise StoppedError(
                f"{stop.noticed.name}: the run is finished, its report is written.",
                exit_code=128 + stop.noticed,
            )
        return report


def run_to_end(loop: Loop, *, measured: bool = True) -> dict[str, Any]:
    """Takes all steps that are left, and returns the report."""
    try:
        loop.run_to_end()
    except BaseException as error:
        if processes.is_shared(error):
            loop.saver.finish()
        raise
    return loop.finish(measured=measured)


@contextlib.contextmanager
def lock(folder: RunFolder) -> Iterator[None]:
    """Keeps other runs out of a folder, which the first process does for all."""
    with contextlib.ExitStack() as locks:
        with processes.together("the run folder"):
            if processes.is_first():
                locks.enter_context(folder.lock())
                folder.remove_leftovers()
        yield


def load_in_turn(run: RunConfig, folder: RunFolder | None, display: Display) -> Dataset:
    """Reads the data in one process, then in the others, which find it in the cache.

    Args:
        run: The config.
        folder: The run's own folder, if it has one.
        display: Where progress and notes are shown.
    """
    data, load = None, tasks.get(run.task).load
    codecs = input_codecs(run, folder) or None
    for turn in (True, False):
        with processes.together("reading the data", processes.DAY):
            if processes.is_first() == turn:
                options = dict(codecs=codecs, head=run.head, progress=display.prepare)
                data = load(run.data, **options)
    assert data is not None
    for note in data.notes:
        display.say(note)
    return data


def count_steps(run: RunConfig, data: Dataset, display: Display) -> RunConfig:
    """Returns a run whose steps are known, and shows how many its epochs are."""
    num_rows, num_epochs = data.num_rows("train"), run.train.num_epochs
    run = with_num_steps(run, num_rows)
    if num_epochs:
        display.say(
            f"{num_epochs:g} epochs of {num_rows:,} rows are {run.train.num_steps:,} "
            "steps."
        )
    return run


def name_left_out(task: Task, display: Display) -> None:
    """Shows which metrics a missing library leaves out, and the remedy."""
    left_out = describe_left_out(tuple(metric.key for metric in task.metrics))
    if left_out:
        display.say(f"Metrics that are left out: {left_out}")


def check_feasible(run: RunConfig) -> None:
    """Refuses what cannot be met or run here, before any data are read.

    Raises:
        SlimjaxError: If memory, budget, teacher, mesh or kernels won't do.
    """
    outline = expected_outline(run)
    check_teacher(run)
    check_branch(run)
    if outline is not None:
        check_blueprint(make_blueprint(run, outline))


def check_blueprint(blueprint: Blueprint) -> None:
    """Refuses a model that cannot be trained here as the config asks.

    Raises:
        SlimjaxError: If memory, budget, teacher, mesh or kernels won't do.
    """
    run = blueprint.run
    check_memory(run, blueprint.model)
    check_budget(blueprint)
    check_answers(run.distill, blueprint.model.heads)
    make_stage(blueprint).check_kernels()
