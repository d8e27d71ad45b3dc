"""A teacher's outcomes for the rows of a run: computed once, before the first step.

A run knows beforehand which rows its steps will see (`slimjax.data.batches`). Those
that are not in the cache yet are computed in one pass. The train step is then one
program without a teacher, which reads what was kept of its outputs. If a row were
computed when it is first met, each step would wait for the host, and the pieces on the
disk would be as small as batches. The numbers would be the same, since they are rounded
where they are made (`slimjax.distill.outcomes`). A run that goes on reads the same
pieces, so it ends with the same bits.

The price of a forward pass of each row that the run sees counts in ``flops_total``,
once, whichever run computed it; what this run computed itself is reported beside.
"""

import base64
import contextlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Int64

from slimjax import processes
from slimjax.data.batches import row_indices, rows_of_steps
from slimjax.data.dataset import Dataset
from slimjax.distill.config import DistillConfig
from slimjax.distill.outcome_store import OutcomeStore, record_type, store_folder
from slimjax.distill.outcomes import Outcomes, make_outcomes_fn
from slimjax.errors import ConfigError, StoppedError
from slimjax.mesh.shardings import replicated
from slimjax.run.bad_steps import OTHER_ROWS
from slimjax.run.progress import Display
from slimjax.run.signals import StopRequests
from slimjax.store.lock import take_turn
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.train.history import History
from slimjax.train.stage import Stage
from slimjax.train.taught_step import put_teacher

PIECE_BYTES = 1 << 24
"""Size from which outcomes are written: as much is lost at most by a kill."""

NAME = "the teacher's outcomes"
Rows = Int64[np.ndarray, " M"]


def planned_rows(run: RunConfig, num_rows: int, history: History, first: int) -> Rows:
    """Returns the rows that a run sees with its teacher from a step on, in order.

    Args:
        run: The config.
        num_rows: Rows of the corpus.
        history: Tells what other rows were taken for bad steps.
        first: The step.
    """
    size, seed, steps = run.data.batch_size, run.seed, run.train.num_steps
    taught = range(max(first, run.distill.first_step), steps)
    rows = [rows_of_steps(taught, size, num_rows, seed)]
    for step, times in history.detours.items():
        other = int(step) + OTHER_ROWS * times
        rows.append(row_indices(other, size, num_rows, seed))
    return np.unique(np.concatenate(rows))


def check_room(run: RunConfig, data: Dataset, display: Display) -> None:
    """Tells how much of the cache a teacher's outcomes will take, or refuses.

    Raises:
        ConfigError: If that is more than the config allows.
    """
    if not run.distill.keeps_outcomes:
        return
    distill = run.distill
    if data.buckets is not None:
        raise ConfigError(
            f"config.distill.top_k={distill.top_k} keeps a teacher's outputs of whole "
            "rows, and config.data.buckets cuts rows. Leave one of them out."
        )
    if data.mixture is not None:
        raise ConfigError(
            f"config.distill.top_k={distill.top_k} keeps a teacher's outputs of rows "
            "that come once in an epoch, and config.data.domain_weights or "
            "config.data.temperature draws them otherwise. Leave one of them out."
        )
    num_rows = len(planned_rows(run, data.num_rows("train"), History(), 0))
    megabytes = num_rows * _record(run, data).itemsize / 1e6
    told = f"config.distill.top_k={distill.top_k} keeps {megabytes:,.1f} MB"
    if megabytes > distill.cache_limit_mb:
        raise ConfigError(
            f"{told} for {num_rows:,} rows, more than config.distill.cache_limit_mb="
            f"{distill.cache_limit_mb:g}. Lower the one, or raise the other."
        )
    display.say(f"{told} in the cache, of {num_rows:,} rows.")


def keep_outcomes(
    stage: Stage,
    history: History,
    step: int,
    data: Dataset,
    folder: RunFolder,
    display: Display,
    stop: StopRequests,
) -> OutcomeStore | None:
    """Returns the outcomes of all rows that are still to come; None if none are kept.

    Args:
        stage: Has the teacher.
        history: Where the teacher's FLOPs are counted.
        step: Steps taken so far.
        data: What the rows are from.
        folder: Where it is written down what was computed here.
        display: Where progress is shown.
        stop: Who may ask to stop; what is done is kept.

    Raises:
        StoppedError: If it was asked for.
        DataError: If the cache cannot be written to.
    """
    run, teacher = stage.blueprint.run, stage.teacher
    if not run.distill.keeps_outcomes or teacher is None:
        return None
    root = store_folder(teacher.digest, data.fingerprint, run.distill.top_k)
    store = OutcomeStore(root, _record(run, data), data.num_rows("train"))
    targets = stage.blueprint.targets_per_step // run.data.batch_size
    row_flops = targets * teacher.flops_per_target(data.outline.priced_lengths)
    plan = lambda first: planned_rows(run, data.num_rows("train"), history, first)
    history.teacher_flops = row_flops * len(plan(history.stages[0].start_step))
    with _alone_in(store, stop):
        rows = _missing_anywhere(store, plan(step), data.num_rows("train"))
        for asked, found in _compute(stage, data, rows, display, stop):
            _write(store, asked, found)
            entry = {"step": step, "rows": len(asked), "flops": row_flops * len(asked)}
            folder.teacher_work.append(entry)
    return store


def flops_here(distill: DistillConfig, folder: RunFolder, history: History) -> float:
    """Returns the FLOPs that a run has spent itself on its teacher."""
    if not distill.keeps_outcomes:
        return history.teacher_flops
    return sum(entry["flops"] for entry in folder.teacher_work.read())


def _record(run: RunConfig, data: Dataset) -> np.dtype:
    return record_type(data.outline.length, run.distill.top_k, data.sizes["vocab"])


@contextlib.contextmanager
def _alone_in(store: OutcomeStore, stop: StopRequests) -> Iterator[None]:
    """Lets one run at a time compute, so that the others find what it has computed."""

    def wait() -> None:
        if processes.count() == 1:
            _stop_if_asked(stop)

    with contextlib.ExitStack() as held:
        with processes.together(NAME, processes.DAY):
            if processes.is_first():
                held.enter_context(take_turn(store.folder, wait))
                store.remove_leftovers()
        store.refresh()
        yield


def _missing_anywhere(
    store: OutcomeStore, rows: Rows, num_rows: int
) -> Int64[np.ndarray, " _"]:
    """Returns the rows that a process misses; they may have caches of their own."""
    is_missing = np.zeros(num_rows, bool)
    is_missing[store.missing(rows)] = True
    bits = base64.b64encode(np.packbits(is_missing).tobytes()).decode()
    told = [base64.b64decode(bits) for bits in processes.exchange(NAME, bits)]
    found = np.bitwise_or.reduce([np.frombuffer(bits, np.uint8) for bits in told])
    return np.flatnonzero(np.unpackbits(found, count=num_rows))


def _compute(
    stage: Stage, data: Dataset, rows: Rows, display: Display, stop: StopRequests
) -> Iterator[tuple[Rows, Outcomes]]:
    """Yields rows with their outcomes, some megabytes at a time."""
    if not len(rows):
        return
    ask, size = _compile(stage), stage.blueprint.run.data.batch_size
    batches: list[Outcomes] = []
    first = num_bytes = 0
    for last in range(size, len(rows) + size, size):
        own = rows[last - size : last]
        # The last batch is filled up with rows that it has already.
        found = ask(stage.put(data.rows("train", np.resize(own, size))))
        found = jax.device_get(processes.wait_for(found, NAME))
        batches.append(jax.tree.map(lambda x, own=own: x[: len(own)], found))
        num_bytes += sum(x.nbytes for x in batches[-1])
        display.prepare("asking the teacher", min(last / len(rows), 1.0))
        stop.note(float(stop.cast()))
        if num_bytes >= PIECE_BYTES or last >= len(rows) or stop.received is not None:
            yield rows[first:last], jax.tree.map(lambda *x: np.concatenate(x), *batches)
            batches, first, num_bytes = [], last, 0
        _stop_if_asked(stop)


def _compile(stage: Stage) -> Callable[..., Outcomes]:
    """Returns the compiled function from a batch to outcomes, whole on each device."""
    assert stage.teacher is not None
    blueprint, programs = stage.blueprint, stage.programs
    top_k = blueprint.run.distill.top_k
    outcomes_fn = make_outcomes_fn(blueprint.task, stage.teacher.model, top_k)
    jitted = jax.jit(outcomes_fn, out_shardings=replicated(stage.mesh))
    variables = put_teacher(stage.teacher, stage.mesh)
    compiled = programs.compile(jitted, variables, programs.abstract_batch())
    return lambda batch: compiled(variables, batch)


def _write(store: OutcomeStore, rows: Rows, found: Outcomes) -> None:
    """Writes outcomes once in each cache that the processes have."""

    def write() -> None:
        left = np.isin(rows, store.missing(rows))
        if np.any(left):
            store.add(rows[left], jax.tree.map(lambda x: x[left], found))

    with processes.together(NAME):
        if processes.is_first():
            write()
    with processes.together(NAME):
        store.refresh()
        write()


def _stop_if_asked(stop: StopRequests) -> None:
    number = stop.received
    if number is not None:
        raise StoppedError(
            f"{number.name}: the teacher's outputs so far are kept. Run the same "
            "command again to continue.",
            exit_code=128 + number,
        )
