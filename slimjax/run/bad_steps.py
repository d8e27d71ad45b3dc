"""What a run does about a bad step, once its metrics are read."""

from slimjax.errors import NotFeasibleError
from slimjax.run.progress import Display
from slimjax.train.config import TrainConfig
from slimjax.train.guard import SKIP, STOP, fault_of
from slimjax.train.history import History

OTHER_ROWS = 2**32
"""Distance of the steps, never reached, whose rows stand in for those of bad ones."""


class RollBackError(Exception):
    """A step after which the run is to go back to its newest checkpoint."""


def handle_bad_step(
    metrics: dict[str, float],
    step: int,
    train: TrainConfig,
    history: History,
    display: Display,
) -> bool:
    """Returns whether a step was good; counts, reports and acts if it was not.

    Args:
        metrics: Of the step.
        step: Steps taken with it.
        train: Says what to do.
        history: Where bad steps are counted.
        display: Where they are reported.

    Raises:
        RollBackError: If the run is to go back.
        NotFeasibleError: If it is to stop, or has met too many.
    """
    fault = fault_of(metrics)
    if not fault:
        if train.on_bad_step == SKIP:
            history.num_bad_in_a_row = 0
        return True
    policy = train.on_bad_step
    history.num_bad_steps += 1
    history.num_bad_in_a_row += 1
    if policy == STOP or history.num_bad_in_a_row > train.max_bad_steps:
        times = history.num_bad_in_a_row
        again = "" if policy == STOP else f", {times} times in a row"
        raise NotFeasibleError(
            f"At step {step}, {fault}{again}. Lower config.optim.learning_rate; the "
            "last checkpoint is whole."
        )
    display.say(f"At step {step}, {fault}: {policy}.")
    if policy == SKIP:
        return False
    history.detours[str(step - 1)] = history.detours.get(str(step - 1), 0) + 1
    raise RollBackError(step)


def rows_step(step: int, history: History) -> int:
    """Returns the number of the step whose rows are taken: its own, but for detours.

    Examples:
        >>> rows_step(7, History(detours={"6": 1})), rows_step(6, History())
        (7, 6)
    """
    return step + OTHER_ROWS * history.detours.get(str(step), 0)
