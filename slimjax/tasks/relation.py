"""Relation: how two parts of a text are related, or two texts.

    text with two marked parts, or two texts [T] -> tower -> pool -> softmax

An example has a ``text`` and ``spans``, ``[[start, end], [start, end]]`` in characters,
or a ``text`` and a ``text_pair``; and a ``label``. All else is as in classification.
"""

import dataclasses
from collections.abc import Mapping

from slimjax.data.columns import prepare_label, prepare_labels
from slimjax.data.config import DataConfig
from slimjax.data.encoding import Prepared
from slimjax.data.marked_columns import check_spans, prepare_marked
from slimjax.data.material import Material
from slimjax.data.schema import Schema, prepare_by_kind
from slimjax.models.head import HeadSettings
from slimjax.tasks import classification
from slimjax.tasks.base import Task
from slimjax.tasks.classification import LABEL
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: a text with spans, or two texts; and a label."""
    del config
    is_many = head is not None and head.multi_label
    kinds = {"text": "text", "text_pair": "text?", "spans": "spans?"}
    kinds[LABEL] = "labels" if is_many else "label"
    return Schema(kinds, prepare, check)


load = make_load(schema)


def check(example: Example) -> BadDocument | None:
    """Returns what is wrong with the two parts of an example."""
    has_spans, has_pair = ("spans" in example.values, "text_pair" in example.values)
    if has_spans == has_pair:
        has = "has spans and a text_pair" if has_spans else "has no spans, no text_pair"
        problem = f"{has}; one of them is needed. Check config.data.fields."
        return example.bad("missing_field", problem)
    return check_spans(example) if has_spans else None


def prepare(material: Material) -> list[Prepared]:
    """Returns the columns: tokens of the two parts, and the label."""
    kinds = material.kinds
    if "spans" not in kinds:
        return prepare_by_kind(material)
    columns = []
    if LABEL in kinds:  # First, since examples of unknown classes are left out.
        make = prepare_labels if kinds[LABEL] == "labels" else prepare_label
        columns = [make(LABEL, material.labels(LABEL))]
    return [prepare_marked(material), *columns]


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, which asks what classification asks."""
    task = classification.make_task(special)
    own_fit = task.fit

    def fit(head: HeadSettings) -> Task:
        assert own_fit is not None
        return dataclasses.replace(own_fit(head), name="relation")

    return dataclasses.replace(task, name="relation", fit=fit)
