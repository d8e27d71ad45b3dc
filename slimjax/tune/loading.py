"""Data that several runs share: read once, and alike in all folds of a tune."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from slimjax.data.dataset import Dataset
from slimjax.data.labels import MAX_NAMED, Labels
from slimjax.errors import ConfigError, ProcessError, SlimjaxError, StoppedError
from slimjax.run.progress import Display
from slimjax.run.start import load_in_turn
from slimjax.store.run_folder import RunFolder
from slimjax.text.files import show
from slimjax.train.config import RunConfig

REMEDIES: Mapping[str, str] = {
    "vocab": "Set config.data.vocab_size={least}.",
    "source_vocab": "Set config.data.source_vocab_size={least}.",
}
"""What makes folds alike in a size of the data, by its name."""

FEWER = "Take fewer --folds."


class Loader:
    """Reads data, and keeps them for the runs to come, of this fold or another one.

    Rows are memory-mapped, so what is kept is small.
    """

    def __init__(self):
        """Reads nothing yet."""
        self._found: dict[str, Dataset] = {}

    def __call__(
        self, run: RunConfig, folder: RunFolder | None, display: Display
    ) -> Dataset:
        """Returns the data of a run; see `load_in_turn`."""
        plain = run.as_dict()
        parts = [run.task, plain["data"], plain["head"], run.model.init_from]
        key = json.dumps(parts, sort_keys=True)
        if key not in self._found:
            self._found[key] = load_in_turn(run, folder, display)
        return self._found[key]


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Adds the name of a piece, or of a fold, to what is wrong with it."""
    try:
        yield
    except (StoppedError, ProcessError):
        raise
    except SlimjaxError as error:
        raise type(error)(f"{name}: {error}") from error


def check_alike(folds: Sequence[Dataset]) -> None:
    """Refuses folds whose models would differ: each size has one model in all of them.

    Args:
        folds: The data of each.

    Raises:
        ConfigError: Naming the fold and what it lacks.
    """
    for field, codec in folds[0].codecs.items():
        if isinstance(codec, Labels):
            _check_labels([data.codecs[field] for data in folds])
    for name in folds[0].sizes:
        sizes = [data.sizes[name] for data in folds]
        least, most = min(sizes), max(sizes)
        if least < most:
            remedy = REMEDIES.get(name, FEWER).format(least=least)
            raise ConfigError(
                f"Fold {sizes.index(least)} has {name}={least}, and fold "
                f"{sizes.index(most)} has {most}: their models would differ. {remedy}"
            )


def _check_labels(folds: Sequence[Any]) -> None:
    """Refuses folds of which one learns labels that another one lacks."""
    everywhere = dict.fromkeys(name for labels in folds for name in labels.names)
    for fold, labels in enumerate(folds):
        missing = [show(name) for name in everywhere if name not in labels]
        if missing:
            shown = missing[:MAX_NAMED] + ["..."] * (len(missing) > MAX_NAMED)
            raise ConfigError(
                f"Fold {fold} has no training example of {', '.join(shown)}, and other "
                f"folds have: their models would differ. {FEWER} "
                "config.data.stratify=True gives each label its share in each fold."
            )
