"""What an exported model reads of images and features: what files hold, to be scaled.

A program that read scaled numbers would leave the scale to whoever runs it, and a wrong
one ends in wrong answers, not in an error.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from slimjax.data.codecs import Codecs, with_normalize
from slimjax.data.image_table import ImageShape
from slimjax.data.scaling import Scaling
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.pixels import IMAGE, read_image, scale, to_numbers

FEATURES = "features"
OF_IMAGES = "Images are bytes `[rows, {}, {}, {}]`. They are divided by 255{}."
NORMALIZED = ", and then `(x - mean) / deviation` is taken, with {} and {}"
OF_FEATURES = "Features are those of files, `[rows, {}]`. They become `{} * x + {}`."


@dataclasses.dataclass(frozen=True)
class RawInputs:
    """The images and features that a model reads, and how they are scaled.

    Attributes:
        images: What images are made into, and their scale; None without images.
        features: The scale of features; None without features.
    """

    images: ImageShape | None = None
    features: Scaling | None = None

    def draw(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns random inputs of a model as they were before they were scaled.

        Features of images become bytes of images.
        """
        found = dict(inputs)
        if FEATURES in inputs and self.images is not None:
            size = len(found.pop(FEATURES)), *self.images.fit.shape
            drawn = np.random.default_rng(0).integers(0, 256, size, np.uint8)
            return found | {IMAGE: drawn}
        if FEATURES in inputs and self.features is not None:
            scaling = self.features
            raw = (found[FEATURES] - scaling.shift) / scaling.scale
            found[FEATURES] = raw.astype(np.float32)
        return found

    def read(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns inputs that are scaled as training and prediction scale them."""
        found = dict(inputs)
        if self.images is not None and IMAGE in inputs:
            x = scale(to_numbers(inputs[IMAGE]), self.images.normalize or ())
            return found | read_image({IMAGE: x})
        if self.features is not None and FEATURES in inputs:
            own = np.float32(self.features.scale), np.float32(self.features.shift)
            found[FEATURES] = inputs[FEATURES] * own[0] + own[1]
        return found

    def describe(self) -> list[str]:
        """Returns what somebody who runs the model must know of its inputs."""
        if self.images is not None:
            normalize = list(self.images.normalize or ())
            half = len(normalize) // 2
            then = NORMALIZED.format(normalize[:half], normalize[half:])
            shape = self.images.fit.shape
            return [OF_IMAGES.format(*shape, then if normalize else "")]
        if self.features is not None:
            return [OF_FEATURES.format(*dataclasses.astuple(self.features))]
        return []


def raw_inputs_of(codecs: Codecs, workdir: str | Path) -> RawInputs:
    """Returns the images and features that the model of a run folder reads.

    Args:
        codecs: Those of the model.
        workdir: The run folder.
    """
    known = with_normalize(codecs, read_json(RunFolder(workdir).config, dict))
    images, features = known.get(IMAGE), known.get(FEATURES)
    return RawInputs(cast(ImageShape | None, images), cast(Scaling | None, features))
