"""Candidates: texts that are ranked for each example, instead of a vector of it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slimjax.data.cache import hash_json
from slimjax.errors import ConfigError, DataError
from slimjax.paths import printable
from slimjax.predict.predictor import Predictor
from slimjax.text.examples import Example

_ENDINGS = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv"}
"""Kinds of sources whose files end so, plain or in .gz; others have texts in lines."""


def rank_among(
    predictor: Predictor, source: str, note: Callable[[str], None] = lambda _: None
) -> Predictor:
    """Returns a predictor that ranks the texts of a source for each example.

    Args:
        predictor: Its task gives vectors.
        source: ``jsonl:GLOB``, ``csv:GLOB``, ``text:GLOB`` with a text on each line, or
            the path of such a file, whose ending says which it is.
        note: Called with what a user should know of the candidates.

    Raises:
        ConfigError: If the task ranks nothing.
        DataError: If a candidate cannot be read, or if there is none.
    """
    task, where = predictor.task, f"--candidates={printable(source)}"
    if task.among is None:
        raise ConfigError(
            f"{where} is for config.task='ranking'; this model is of {task.name!r}."
        )
    texts, parts, is_cut = [], [], []
    found = predictor.read_source(_name_source(source), where="--candidates")
    for window in predictor.start().over(found):
        bad = [one for one in window.found if not isinstance(one, Example)]
        if bad:
            raise DataError(f"{where}: {bad[0].message}")
        if window.results is not None:
            texts += [one.values["text"] for one in window.results.examples]
            parts.append(window.results.kept["vector"])
            is_cut += window.is_cut
    if not texts:
        raise DataError(f"{where} holds no text.")
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    chosen = sorted(first.values())
    unique, vectors = [texts[i] for i in chosen], np.concatenate(parts)[chosen]
    if num_cut := sum(is_cut[i] for i in chosen):
        longer = f"truncated (longer than data.seq_len={predictor.config.seq_len})"
        note(f"{where}: {num_cut:,} of {len(chosen):,} texts {longer}.")
    ranked = dataclasses.replace(task, answer=task.among(unique, vectors))
    found = dataclasses.replace(predictor, task=ranked, candidates=hash_json(unique))
    vars(found)["programs"] = predictor.programs  # They compute the same.
    return found


def _name_source(source: str) -> str:
    """Returns the source that a flag names, or the path of a file."""
    if ":" in source and not Path(source).is_file():
        return source
    ending = Path(source.lower().removesuffix(".gz")).suffix
    return f"{_ENDINGS.get(ending, 'text')}:{source}"
