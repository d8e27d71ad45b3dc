"""Images of what is exported: bytes, which are scaled as in training.

A program that read numbers would leave the scale to whoever runs it, and a wrong one
ends in wrong answers, not in an error.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from slimjax.data.codecs import Codecs, with_normalize
from slimjax.data.image_table import ImageShape
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.pixels import IMAGE, read_image, scale, to_numbers

FEATURES = "features"
SCALED = " and then `(x - mean) / deviation` is taken, with {means} and {deviations}"


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The images that a model reads.

    Attributes:
        shape: What they are made into, and how bytes are scaled; None for a model that
            reads none.
    """

    shape: ImageShape | None = None

    def draw(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns random inputs of a model with bytes in place of images' features."""
        if self.shape is None or FEATURES not in inputs:
            return dict(inputs)
        size = len(inputs[FEATURES]), *self.shape.fit.shape
        drawn = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        rest = {name: x for name, x in inputs.items() if name != FEATURES}
        return rest | {IMAGE: drawn}

    def read(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns inputs with scaled images, as training and prediction scale them."""
        if self.shape is None or IMAGE not in inputs:
            return dict(inputs)
        scaled = scale(to_numbers(inputs[IMAGE]), self.shape.normalize or ())
        return {**inputs, **read_image({IMAGE: scaled})}

    @property
    def notes(self) -> list[str]:
        """What somebody who runs the model must know of its images."""
        if self.shape is None:
            return []
        height, width, channels = self.shape.fit.shape
        normalize = list(self.shape.normalize or ())
        half = len(normalize) // 2
        parts = dict(means=normalize[:half], deviations=normalize[half:])
        then = SCALED.format(**parts) if normalize else ""
        return [
            f"Images are bytes `[rows, {height}, {width}, {channels}]`. They are "
            f"divided by 255{then}."
        ]


def pixels_of(codecs: Codecs, workdir: str | Path) -> Pixels:
    """Returns the images that the model of a run folder reads.

    Args:
        codecs: Those of the model.
        workdir: The run folder.
    """
    known = with_normalize(codecs, read_json(RunFolder(workdir).config, dict))
    return Pixels(cast(ImageShape | None, known.get(IMAGE)))
