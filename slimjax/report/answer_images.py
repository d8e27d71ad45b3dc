"""The images of answered examples, as an evaluation wrote them beside the answers."""

import base64
import dataclasses
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from slimjax.errors import CheckpointError
from slimjax.paths import printable
from slimjax.report.markup import escape

MOST = 1 << 12
"""Images of a file that are read; more would not fit on a page."""

MAX_SIDE = 224
"""Pixels of the longer side that are shown: larger images lose rows and columns."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Images by the numbers of their examples.

    Attributes:
        sources: ``data:`` addresses of PNG files.
        shown: Numbers of the examples that stand for the whole split.
    """

    sources: Mapping[int, str] = dataclasses.field(default_factory=dict)
    shown: tuple[int, ...] = ()

    def tag(self, number: int) -> str:
        """Returns an image as HTML; empty if it is not there."""
        source = self.sources.get(number)
        if source is None:
            return ""
        words = escape(f"image of example {number + 1}")
        return f"<img class='seen' alt='{words}' src='{source}'>"


def read_images(path: Path) -> Images:
    """Returns the images of a file; none if there is no file.

    Raises:
        CheckpointError: If it is damaged.
    """
    if not path.is_file():
        return Images()
    try:
        with np.load(path, allow_pickle=False) as file:
            numbers, pixels, shown = (file[n] for n in ("numbers", "pixels", "shown"))
        if pixels.ndim != 4 or pixels.dtype != np.uint8 or len(pixels) != len(numbers):
            raise ValueError("its pixels are no images")
        pairs = zip(numbers[:MOST].tolist(), pixels[:MOST], strict=True)
        sources = {int(number): _to_source(image) for number, image in pairs}
        return Images(sources, tuple(int(number) for number in shown[:MOST]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{printable(path)} is damaged: {printable(error)}. Run slimjax evaluate "
            "again."
        ) from None


def _to_source(image: UInt8[np.ndarray, "H W C"]) -> str:
    """Returns pixels as the address of a PNG file that holds them."""
    from matplotlib.image import imsave

    step = -(-max(image.shape[:2]) // MAX_SIDE)
    small, buffer = image[::step, ::step], io.BytesIO()
    colour = np.repeat(small, 3, axis=2) if small.shape[2] == 1 else small
    imsave(buffer, np.ascontiguousarray(colour), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
