"""Early stopping: a run ends when its headline metric has not got better for a while.

Evaluations count once the model has its last shape and its last bits, so that the best
state of them keeps the budget. It is saved when it is found, and packed at the end.
"""

import math

from slimjax import processes
from slimjax.data.dataset import Dataset
from slimjax.errors import CheckpointError, ConfigError, NoMemoryError, UnreadableError
from slimjax.run.older import restore_state
from slimjax.run.progress import Display
from slimjax.store.manifest import name_of
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.train.history import History
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState


def check_rows(run: RunConfig, data: Dataset) -> None:
    """Refuses patience without rows to evaluate on.

    Raises:
        ConfigError: Naming the setting.
    """
    if run.train.patience and not data.num_rows("valid"):
        raise ConfigError(
            f"config.train.patience={run.train.patience} needs a validation split, and "
            "this one is empty. Set config.data.valid_fraction or "
            "config.data.valid_source."
        )


def counts(run: RunConfig, history: History, step: int) -> bool:
    """Whether an evaluation after so many steps counts for patience."""
    is_cut = history.num_seams >= len(run.seam_steps)
    is_rounded = not run.quantize.is_on or step > run.quantize.first_step
    return run.train.patience > 0 and is_cut and is_rounded


def note(history: History, step: int, rank: float) -> None:
    """Counts an evaluation.

    Args:
        history: Where the best one, and those since, are kept.
        step: Steps taken.
        rank: A number of which less is better; one that is not finite is not better.

    Examples:
        >>> history = History()
        >>> for step, rank in enumerate((0.5, 0.4, 0.4, 0.6)):
        ...     note(history, step, rank)
        >>> history.best_step, history.num_not_better
        (1, 2)
    """
    if math.isfinite(rank) and (history.best is None or rank < history.best):
        history.best, history.best_step, history.num_not_better = rank, step, 0
    else:
        history.num_not_better += 1


def is_over(run: RunConfig, history: History) -> bool:
    """Whether a run has waited long enough for a better evaluation."""
    return 0 < run.train.patience <= history.num_not_better


def best_state(
    stage: Stage,
    state: TrainState,
    history: History,
    folder: RunFolder,
    display: Display,
) -> TrainState:
    """Returns the state to be packed: the best one with patience, or the last.

    Args:
        stage: The last stage.
        state: Its last state.
        history: Knows the step of the best one.
        folder: Has its checkpoint.
        display: Where it is reported.
    """
    run, best = stage.blueprint.run, history.best_step
    if not run.train.patience or best is None:
        return state
    metric = stage.blueprint.task.headline.words
    if is_over(run, history):
        display.say(
            f"No better {metric} in {history.num_not_better} evaluations: stopped at "
            f"step {int(state.step)}."
        )
    if best == int(state.step):
        return state
    try:
        with processes.together("the best checkpoint"):
            name = name_of(best, history.num_seams)
            found = restore_state(folder.checkpoints, name, stage.abstract_checkpoint)
    except CheckpointError as error:
        if isinstance(error, UnreadableError) and not isinstance(error, NoMemoryError):
            raise  # It may be read later; memory would run out again.
        display.say(f"{error} The last state is packed in its place.")
        return state
    display.say(f"The state of step {best}, the best in {metric}, is packed.")
    return stage.place(found)
