"""`slimjax.load`: the model of a run folder, which generates, answers and embeds."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from slimjax.generate import model as generate_model
from slimjax.predict.predictor import BATCH_SIZE, Predictor, make_predictor

Items = str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model(generate_model.Model):
    """A model of a run folder.

    Attributes:
        workdir: The run folder.
    """

    workdir: Path = Path()
    _predictors: dict[tuple[int, str], Predictor] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def predict(
        self, examples: Items, *, batch_size: int = BATCH_SIZE, weights: str = ""
    ) -> list[dict[str, Any]]:
        """Returns one dict for each example, as ``slimjax predict`` writes them.

        A bad example gives ``{"error": ...}`` in its place.

        Args:
            examples: Texts, for a task that reads one, or dicts with the fields that
                files have; one of them or many.
            batch_size: Rows that are computed together.
            weights: float32, bfloat16 or int8; by default as the model has them.

        Raises:
            ConfigError: If the task does not answer, or an option is invalid.
        """
        return self._predictor(batch_size, weights).predict(_to_list(examples))

    def vectors(
        self, texts: Items, *, pool: str = "mean", batch_size: int = BATCH_SIZE
    ) -> Float[np.ndarray, "N D"]:
        """Returns a vector of length 1 for each text: the last stream, pooled.

        Of an encoder-decoder it is that of the encoder.

        Args:
            texts: As in `predict`.
            pool: How the vectors of positions become one: mean, max or first.
            batch_size: Rows that are computed together.

        Raises:
            ConfigError: If there is no such pooling.
            DataError: If a text is bad.
        """
        return self._predictor(batch_size, "").vectors(_to_list(texts), pool)

    def _predictor(self, batch_size: int, weights: str) -> Predictor:
        key = batch_size, weights
        if key not in self._predictors:
            made = make_predictor(self, self.workdir, batch_size, weights)
            self._predictors[key] = made
        return self._predictors[key]


def load(workdir: str | Path) -> Model:
    """Opens the model of a run: the packed one, or the newest checkpoint's.

    Args:
        workdir: The run folder.

    Raises:
        CheckpointError: If there is no model in it, or it is damaged.
    """
    found = generate_model.load(workdir)
    own = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    return Model(**own, workdir=Path(workdir))


def _to_list(items: Items) -> list[Any]:
    return [items] if isinstance(items, str | Mapping) else list(items)
