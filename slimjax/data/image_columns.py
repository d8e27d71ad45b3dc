"""How images of examples become arrays of a batch, uint8 ``[H W C]``."""

import dataclasses
from functools import lru_cache
from typing import cast

import numpy as np
from jaxtyping import UInt8

from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.image_decoding import BadImageError, Fit, decode
from slimjax.data.image_table import IMAGE, ImageShape, explain
from slimjax.data.material import Material
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument
from slimjax.text.source_images import SourceImage

NUM_KEPT = 1024
"""Images that are kept in memory between their check and their row."""


def prepare_image(material: Material, name: str = IMAGE) -> Prepared:
    """Returns the column of an image.

    Rows of a dataset hold numbers of images in its table. Where a finished model reads
    new images, rows hold the images themselves.

    Args:
        material: What it is made from.
        name: The task's name of the image.
    """
    table = material.images
    shape = table.shape if table else cast(ImageShape, material.codecs[IMAGE])
    known = cast(ImageShape | None, material.codecs.get(IMAGE))
    normalize = known.normalize if known else None
    if normalize is None:
        normalize = tuple(material.config.normalize)
    shape = dataclasses.replace(shape, normalize=normalize)
    make, settings = _ImageReader(shape.fit, material.config.max_pixels), shape.fit

    def encode(examples: list[Example]) -> Encoded:
        pictures = [example.values[name] for example in examples]
        if table is not None:
            numbers = [table.number_of(picture) for picture in pictures]
            return Encoded({IMAGE: np.array(numbers, np.int32)})
        rows = np.empty((len(examples), *settings.shape), np.uint8)
        for row, picture in zip(rows, pictures, strict=True):
            row[...] = make(picture)
        return Encoded({IMAGE: rows})

    def check(example: Example) -> BadDocument | None:
        if table is not None:
            return None
        try:
            make(example.values[name])
        except BadImageError as error:
            return explain(example, name, str(error))
        return None

    return Prepared(
        IMAGE,
        {IMAGE: Field(settings.shape, "uint8", (None, None, None))},
        encode,
        shape.fingerprint,
        check=check,
        sizes=shape.sizes,
        codecs={IMAGE: shape},
        tables={IMAGE: table.pixels} if table else {},
        numbering=table.numbering if table else "",
    )


class _ImageReader:
    """Decodes pictures; the last ones are kept, since they are checked before."""

    def __init__(self, fit: Fit, max_pixels: int):
        self._fit, self._max_pixels = fit, max_pixels
        self._pictures: dict[bytes, SourceImage] = {}
        self._decode = lru_cache(NUM_KEPT)(self._decode_digest)

    def __call__(self, picture: SourceImage) -> UInt8[np.ndarray, "H W C"]:
        self._pictures = {picture.digest: picture}
        return self._decode(picture.digest)

    def _decode_digest(self, digest: bytes) -> UInt8[np.ndarray, "H W C"]:
        return decode(self._pictures[digest], self._fit, self._max_pixels)
