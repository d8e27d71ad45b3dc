"""Image classification: one class of C for each image.

    image [H W C] -> convolution or patches -> pool -> softmax over the classes

An example has an ``image`` and a ``label``. A plain perceptron reads the pixels as a
row of numbers. With ``config.head.multi_label`` the label is a list, and each class is
answered by itself.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.models.head import HeadSettings
from slimjax.tasks.base import Batch, Task
from slimjax.tasks.classification import LABEL, make_choice
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.tasks.pixels import IMAGE, read_image


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: an image, and a label or a list of them."""
    del config
    is_many = head is not None and head.multi_label
    return Schema({IMAGE: "image", LABEL: "labels" if is_many else "label"})


load = make_load(schema)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, which answers as classification does."""
    del special

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_image(batch)

    return make_choice("image_classification", inputs)
