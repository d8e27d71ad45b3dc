"""Changed training examples: what may be changed of which data, and changed texts.

Texts are changed before they become tokens, so their rows are made again in each step.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from slimjax import tasks
from slimjax.augment.config import AugmentConfig
from slimjax.augment.texts import change_row, make_generator
from slimjax.data.dataset import Batch, Dataset
from slimjax.data.image_table import IMAGE
from slimjax.data.outline import POSITIONS, Outline
from slimjax.errors import ConfigError
from slimjax.run.answers import owners_of
from slimjax.text.examples import Example
from slimjax.train.config import RunConfig

CHANGED = "text"
"""The kind of values that are changed."""

ALLOWED = (CHANGED, "image", "label", "labels", "value", "texts", "passage")
"""Kinds that stay right whatever becomes of a text: no places in it, no words of it."""


def check_augment(run: RunConfig, outline: Outline) -> None:
    """Refuses changes of images or of texts where there are none.

    Raises:
        ConfigError: Naming the setting.
    """
    augment, task_file = run.augment, tasks.get(run.task)
    kinds: Mapping[str, str] = {}
    if hasattr(task_file, "schema"):
        kinds = task_file.schema(run.data, run.head).choose_kinds()
    if augment.of_texts and CHANGED not in kinds.values():
        raise ConfigError(
            f"{_name_texts(run)}, and config.task={run.task!r} reads none of labelled "
            "examples. Leave it out."
        )
    asked = [*augment.of_images, *(["mixup"] if augment.mixup else [])]
    if asked and IMAGE not in outline.fields:
        raise ConfigError(
            f"config.augment.{asked[0]}={getattr(augment, asked[0])} changes images, "
            f"and config.task={run.task!r} reads none. Leave it out."
        )
    reads_text = any(POSITIONS in field.axes for field in outline.fields.values())
    if augment.mixup and reads_text:
        raise ConfigError(
            f"config.augment.mixup={augment.mixup} mixes images, and the texts of "
            f"config.task={run.task!r} cannot be mixed. Set it to 0."
        )


def check_together(run: RunConfig) -> None:
    """Refuses what deals out rows of a batch that must stand together.

    Raises:
        ConfigError: Naming both settings.
    """
    rows, parts = run.data.rows_per_image, run.optim.accumulation_steps
    asked = f"config.data.rows_per_image={rows}"
    if rows > 1 and parts > 1:
        raise ConfigError(
            f"{asked} keeps rows of a batch together, and config.optim."
            f"accumulation_steps={parts} deals them out. Set one of them to 1."
        )
    if rows > 1 and run.distill.is_on:
        raise ConfigError(
            f"{asked} is for training without a teacher. Set it to 1, or "
            "config.distill.teacher=''."
        )


def change_texts(run: RunConfig, data: Dataset) -> Dataset:
    """Returns data whose texts are changed in training, if the config asks for it.

    The training examples are read once more, and held in memory.

    Raises:
        ConfigError: If what is learned stands at places of the texts, or if rows must
            stay as they are.
    """
    if not run.augment.of_texts:
        return data
    check_augment(run, data.outline)
    assert data.read_examples is not None
    names = [name for name, kind in data.kinds.items() if kind == CHANGED]
    where = _name_texts(run)
    others = [kind for kind in data.kinds.values() if kind not in ALLOWED]
    if others or owners_of(data, "train") is not None:
        why = f"has {others[0]} in its texts" if others else "cuts texts into windows"
        raise ConfigError(
            f"{where}, and config.task={run.task!r} {why}, which would no longer fit. "
            "Leave it out."
        )
    clashes = {
        f"config.data.buckets={list(run.data.buckets)}": data.buckets is not None,
        f"config.distill.top_k={run.distill.top_k}": run.distill.keeps_outcomes,
    }
    for setting, is_set in clashes.items():
        if is_set:
            raise ConfigError(
                f"{where}, and {setting} is for rows that stay as they are. Leave one "
                "of them out."
            )
    examples = data.read_examples()["train"]
    change = _TextChanger(data, examples, tuple(names), run.augment)
    return dataclasses.replace(data, change=change)


def _name_texts(run: RunConfig) -> str:
    """Returns the first setting that changes texts, and that it does so."""
    name = run.augment.of_texts[0]
    return f"config.augment.{name}={getattr(run.augment, name)} changes texts"


@dataclasses.dataclass(frozen=True, eq=False)
class _TextChanger:
    """Makes rows of changed texts."""

    data: Dataset
    examples: Sequence[Example]
    names: tuple[str, ...]
    config: AugmentConfig

    def __call__(
        self, batch: Batch, numbers: Int64[np.ndarray, " B"], step: int, seed: int
    ) -> Batch:
        changed = [
            self._change(self.examples[number], make_generator(seed, step, place))
            for place, number in enumerate(numbers)
        ]
        assert self.data.encode is not None
        arrays = self.data.encode(changed).arrays
        own = {n: f for n, f in self.data.fields.items() if n not in self.data.tables}
        return {**batch, **{n: f.decode(arrays[n]) for n, f in own.items()}}

    def _change(self, example: Example, generator: np.random.Generator) -> Example:
        texts = {name: example.values[name] for name in self.names}
        changed = change_row(texts, self.config, generator)
        return dataclasses.replace(example, values={**example.values, **changed})
