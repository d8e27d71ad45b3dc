"""Questions about images, with one answer of C for each.

    image [H W C], question [T] -> fusion -> pool -> softmax over the answers

An example has an ``image``, a ``question`` and an ``answer``. The answers are closed:
those of the training split. All questions about one image are in one split.

References:
    Antol et al., "VQA: Visual Question Answering", 2015, section 5, where an answer is
    one of the most frequent ones too.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.models.head import HeadSettings
from slimjax.tasks.base import Batch, Task
from slimjax.tasks.classification import make_choice
from slimjax.tasks.inputs import read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.tasks.pixels import IMAGE, read_image

QUESTION, ANSWER = "question", "answer"
"""Names of the text, and of what is answered."""

SCHEMA = Schema({IMAGE: "image", QUESTION: "text", ANSWER: "label"})


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: an image, a question and its answer."""
    del config, head
    return SCHEMA


load = make_load(schema)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for questions in which these tokens are no text."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_row(batch, special) | read_image(batch)

    return make_choice("image_question", inputs, ANSWER)
