"""Candidates: texts that are ranked for each example, instead of a vector of it."""

import dataclasses
from pathlib import Path

import numpy as np

from slimjax.data.cache import hash_json
from slimjax.errors import ConfigError, DataError
from slimjax.paths import printable
from slimjax.predict.predictor import Predictor
from slimjax.text.examples import Example


def rank_among(predictor: Predictor, source: str) -> Predictor:
    """Returns a predictor that ranks the texts of a source for each example.

    Args:
        predictor: Its task gives vectors.
        source: ``jsonl:GLOB``, ``csv:GLOB``, ``text:GLOB`` with a text on each line, or
            the path of such a file.

    Raises:
        ConfigError: If the task ranks nothing.
        DataError: If a candidate cannot be read, or if there is none.
    """
    task, where = predictor.task, f"--candidates={printable(source)}"
    if task.among is None:
        raise ConfigError(
            f"{where} is for config.task='ranking'; this model is of {task.name!r}."
        )
    named = source if ":" in source and not Path(source).is_file() else f"text:{source}"
    texts, parts = [], []
    for window in predictor.start().over(predictor.read_source(named)):
        bad = [one for one in window.found if not isinstance(one, Example)]
        if bad:
            raise DataError(f"{where}: {bad[0].message}")
        if window.results is not None:
            texts += [one.values["text"] for one in window.results.examples]
            parts.append(window.results.kept["vector"])
    if not texts:
        raise DataError(f"{where} holds no text.")
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    chosen = sorted(first.values())
    unique, vectors = [texts[i] for i in chosen], np.concatenate(parts)[chosen]
    ranked = dataclasses.replace(task, answer=task.among(unique, vectors))
    found = dataclasses.replace(predictor, task=ranked, candidates=hash_json(unique))
    vars(found)["programs"] = predictor.programs  # They compute the same.
    return found
