"""A finished model that answers: examples in, one dict for each out."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from slimjax import tasks
from slimjax.config import build, override
from slimjax.data.codecs import normalize_of, special_of, with_normalize
from slimjax.data.config import DataConfig
from slimjax.data.encoding import Prepared
from slimjax.data.inputs import Found, iterate_inputs, make_inputs, prepare_inputs
from slimjax.data.outline import DOMAIN
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError, suggest
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.endings import ends_of
from slimjax.generate.model import Model, load
from slimjax.generate.rows import make_row_writer
from slimjax.models.head import HeadSettings
from slimjax.nn.implementations import POOLS
from slimjax.predict.formats import ERROR
from slimjax.predict.programs import Programs, check_weights
from slimjax.predict.windows import Pass, Run, Shapes, Window
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.answers import Answer
from slimjax.tasks.base import DEFAULT_TASK, Task
from slimjax.tasks.inputs import with_domains
from slimjax.tasks.pixels import IMAGE, with_pixels
from slimjax.tasks.spelling import with_bytes
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

BATCH_SIZE, MAX_BATCH_SIZE = 32, 1 << 14
TRUNCATED = "truncated"


@dataclasses.dataclass(eq=False)
class Predictor:
    """A model with its task, which answers examples.

    Attributes:
        model: The model.
        task: Its task.
        schema: What the task reads.
        config: How files are read, and how rows are made.
        batch_size: Rows that are computed together.
        weights: Format of the weights, see `Programs`.
        decode: How a task that generates writes its answers.
        candidates: A hash of the texts that are ranked, or "".

    Raises:
        ConfigError: If `batch_size` or `weights` is invalid.
    """

    model: Model
    task: Task
    schema: Schema
    config: DataConfig
    batch_size: int = BATCH_SIZE
    weights: str = ""
    decode: DecodeConfig = dataclasses.field(default_factory=DecodeConfig)
    candidates: str = ""

    def __post_init__(self):
        """Refuses invalid values, by the names of the flags."""
        check_weights(self.weights)
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise ConfigError(
                f"--batch_size={self.batch_size} must be in [1, {MAX_BATCH_SIZE}]."
            )

    def check_answers(self) -> None:
        """Raises `ConfigError` if the task does not answer."""
        if self.task.answer is None:
            command = "generate" if self.task.generates else "evaluate"
            raise ConfigError(
                f"A model of config.task={self.task.name!r} does not answer examples. "
                f"Use slimjax {command}."
            )

    @functools.cached_property
    def programs(self) -> Programs:
        """What is compiled."""
        config, params = self.model.config, self.model.params
        return Programs(config, params, self.task, self.weights)

    @functools.cached_property
    def run(self) -> Run:
        """From a batch to what answers need of its rows."""
        if not self.task.generates:
            return self.programs.predict
        config, special = self.model.config, special_of(self.model.codecs)
        decode = self.decode.with_room(self.config)
        own = (config, self.model.params, self.task, special, decode)
        more = ends_of(self.model.tokenizer)[1:]
        return make_row_writer(*own, self.weights, more)

    @functools.cached_property
    def columns(self) -> list[Prepared]:
        """What makes rows of examples."""
        return prepare_inputs(self.config, self.schema, self.model.codecs)

    def start(self, shapes: Shapes | None = None) -> Pass:
        """Returns a pass that computes what answers need.

        Raises:
            ConfigError: If the task does not answer.
        """
        self.check_answers()
        return self._pass(self.run, shapes)

    def lines(self, window: Window) -> list[dict[str, Any]]:
        """Returns one dict for each example of a window, or what is wrong with it."""
        answers: Iterator[Answer] = iter(())
        if window.results is not None:
            assert self.task.answer is not None
            answers = iter(self.task.answer(window.results))
        cut = iter(window.is_cut)
        return [
            make_line(one, next(answers), **{TRUNCATED: next(cut)})
            if isinstance(one, Example)
            else {ERROR: one.message}
            for one in window.found
        ]

    def predict(self, items: Iterable[Any]) -> list[dict[str, Any]]:
        """Returns one dict for each item, in order; one with ``error`` for a bad one.

        Args:
            items: Texts, for a task that reads one, or dicts with the names of fields
                that files have.
        """
        windows = self.start().over(self.read(items))
        return [line for window in windows for line in self.lines(window)]

    def vectors(
        self, items: Iterable[Any], pool: str = "mean"
    ) -> Float[np.ndarray, "N D"]:
        """Returns one vector of length 1 for each item; of its first row, if several.

        Args:
            items: As in `predict`.
            pool: How vectors of positions become one: mean, max or first.

        Raises:
            ConfigError: If there is no such pooling.
            DataError: If an item is bad.
        """
        if pool not in POOLS:
            raise ConfigError(f"pool={pool!r} is unknown. {suggest(str(pool), POOLS)}")
        run = self.programs.vectors(pool, special_of(self.model.codecs))
        parts = [np.zeros((0, self.model.config.reader.width), np.float32)]
        for window in self._pass(run).over(self.read(items)):
            for one in window.found:
                if isinstance(one, BadDocument):
                    raise DataError(one.message)
            if window.results is not None:
                parts.append(window.results.kept["x"][window.results.starts[:-1]])
        return np.concatenate(parts)

    def read(self, items: Iterable[Any], path: str = "input") -> Found:
        """Returns examples of Python values; `path` stands for a file in messages."""
        return make_inputs(
            self.config, self.schema, self.model.codecs, items, path=path
        )

    def read_source(self, source: str, where: str = "--input") -> Found:
        """Returns the examples of files, such as ``csv:new.csv``; `where` names it."""
        codecs = self.model.codecs
        return iterate_inputs(self.config, self.schema, codecs, source, where=where)

    def _pass(self, run: Run, shapes: Shapes | None = None) -> Pass:
        codecs = self.model.codecs
        return Pass(self.columns, codecs, run, self.batch_size, shapes)


def make_line(example: Example, answer: Answer, **more: Any) -> dict[str, Any]:
    """Returns an example's own fields, and what the task and others add to them."""
    own = {str(name): value for name, value in example.record.items()}
    return {**own, **answer, **more}


def open_predictor(
    workdir: str | Path,
    *,
    batch_size: int = BATCH_SIZE,
    weights: str = "",
    reading: Sequence[tuple[str, str]] = (),
) -> Predictor:
    """Opens the model of a run as one that answers.

    Args:
        workdir: The run folder.
        batch_size: Rows that are computed together.
        weights: float32, bfloat16 or int8; by default as the model has them.
        reading: Changes of ``config.data`` that say how files are read, and of
            ``config.decode`` that say how answers are written.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
        ConfigError: If its task does not answer, or an option is invalid.
    """
    predictor = make_predictor(load(workdir), workdir, batch_size, weights, reading)
    predictor.check_answers()
    return predictor


def make_predictor(
    model: Model,
    workdir: str | Path,
    batch_size: int = BATCH_SIZE,
    weights: str = "",
    reading: Sequence[tuple[str, str]] = (),
) -> Predictor:
    """Returns an open model as one that answers, as its run folder describes it."""
    stored = override(read_json(RunFolder(workdir).config, dict), reading)
    task_file = tasks.get(stored.get("task", DEFAULT_TASK))
    head = build(HeadSettings, stored.get("head", {}), "config.head")
    task = task_file.make_task(special_of(model.codecs))
    task = task if task.fit is None else task.fit(head)
    config = build(DataConfig, stored.get("data", {}), "config.data")
    task = with_domains(task) if DOMAIN in model.codecs else task
    if IMAGE in model.codecs:
        task = with_pixels(task, normalize_of(with_normalize(model.codecs, stored)))
    task = with_bytes(task, model.config, model.codecs)
    schema = Schema({"text": "text"})
    if hasattr(task_file, "schema"):
        schema = task_file.schema(config)
    decode = build(DecodeConfig, stored.get("decode", {}), "config.decode")
    return Predictor(model, task, schema, config, batch_size, weights, decode)
