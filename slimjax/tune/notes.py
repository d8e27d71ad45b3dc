"""What a user should know of a tune before it begins, and what its page repeats."""

from collections.abc import Mapping
from typing import Any

from slimjax.data.dataset import Dataset
from slimjax.errors import ConfigError
from slimjax.tasks.base import Task
from slimjax.text.sources import parse_sources
from slimjax.train.config import RunConfig
from slimjax.tune.path import describe_own
from slimjax.tune.record import FEW_DOCUMENTS
from slimjax.tune.request import Request
from slimjax.tune.rules import FOR_TASKS, FOR_TEXT

NO_COPIES_LOOKED_FOR = (
    "Near-duplicates are not looked for: a document that is nearly one of another fold "
    "makes errors too small."
)

COUNTED = ("documents", "examples")
"""What a dataset counts by split."""


def list_lines(
    run: RunConfig, given: Mapping[str, Any], request: Request, data: Dataset
) -> tuple[str, ...]:
    """Returns what is said before a tune begins, one line each.

    Args:
        run: The config, checked.
        given: Its blocks as they were written.
        request: The flags.
        data: That of the first fold.
    """
    lines = [
        describe_own(run, given),
        _note_rule(request, run.task),
        _note_few(data, request.folds),
        NO_COPIES_LOOKED_FOR,
    ]
    return tuple(line for line in lines if line)


def list_notes(run: RunConfig, folds: int, unit: str) -> tuple[str, ...]:
    """Returns what is said before, and on the page as well.

    Args:
        run: The config, checked.
        folds: Number of folds.
        unit: Of what errors are kept.
    """
    return (*_note_pieces(run, folds), *_note_unit(unit))


def check_held_out(data: Dataset, folds: int) -> None:
    """Refuses data of which nothing is held out to compare points on.

    Args:
        data: That of the first fold.
        folds: Number of folds.

    Raises:
        ConfigError: If the validation split is empty.
    """
    if not data.num_rows("valid"):
        raise ConfigError(
            f"--folds={folds} leaves nothing to compare points on: the validation "
            "split is empty. Set config.data.valid_fraction, or take --folds=3."
        )


def unit_of(data: Dataset, task: Task) -> str:
    """Returns of what errors are kept; see `slimjax.run.losses`."""
    if data.read_examples is not None:
        return "examples"
    return "rows" if task.target_at is None else "documents"


def _note_rule(request: Request, task: str) -> str:
    """Returns a line on the rule, if it is not the one that suits a task."""
    if request.rule or request.rule_for(task) == Request().rule_for(task):
        return ""
    return (
        f"--folds=1 gives no standard error, so the rule is {FOR_TEXT}, not {FOR_TASKS}"
        "."
    )


def _note_unit(unit: str) -> list[str]:
    """Returns a warning if intervals are narrower than those over documents."""
    if unit != "rows":
        return []
    return [
        "Errors are kept by row of config.data.seq_len tokens. Rows of one document "
        "are alike, so the intervals are too narrow."
    ]


def _note_few(data: Dataset, folds: int) -> str:
    """Returns a warning if folds have few documents or examples.

    Args:
        data: That of the first fold.
        folds: Number of folds.
    """
    for name in (name for name in COUNTED if name in data.counts):
        counts = data.counts[name]
        held_out = counts["valid"]
        known = held_out + counts["train"]
        if held_out < FEW_DOCUMENTS or (folds > 1 and known < FEW_DOCUMENTS * folds):
            return (
                f"Few {name} to compare points on: fold 0 holds out {held_out} of "
                f"{known}. With less than {FEW_DOCUMENTS} in a fold the intervals are "
                "rough."
            )
    return ""


def _note_pieces(run: RunConfig, folds: int) -> list[str]:
    """Returns a warning if the documents of folds are pieces of one file."""
    sources = parse_sources(run.data.source)
    if any(source.has_records or source.scheme == "idx" for source in sources):
        return []
    num_files = sum(len(source.find_files(run.data.style)) for source in sources)
    if num_files > folds:
        return []
    return [
        f"The documents are pieces of {num_files} file{'s' * (num_files != 1)}: what "
        "is held out is like what was learned, and other texts will fare worse."
    ]
