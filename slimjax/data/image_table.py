"""All images of a dataset, each decoded once, in one file that is mapped into memory.

Rows hold numbers of images, so an image that a thousand questions are about is stored
once. The file is kept in the cache, by the hashes of the images and what they are made
into.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.config import DataConfig
from slimjax.data.image_decoding import BadImageError, Fit, choose_fit, decode
from slimjax.data.stored import load_stored
from slimjax.errors import DataError
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.source_images import SourceImage

FORMAT = 1  # Part of names in the cache: other pixels of the same images count it up.
IMAGE = "image"
"""Name of the field, and of what examples have."""
IMAGE_FILE = "image.json"
PIXELS_FILE, DIGESTS_FILE = "pixels.npy", "digests.npy"

Refuse = Callable[[BadDocument], None]


@dataclasses.dataclass(frozen=True)
class ImageShape:
    """What images a model reads; kept as ``image.json``.

    Attributes:
        fit: What images are made into.
        normalize: How their bytes are scaled, as in ``config.data.normalize``; None in
            folders of older versions, whose ``config.json`` has it.
    """

    fit: Fit
    normalize: tuple[float, ...] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """What a model takes from it: sides, channels, and how many numbers."""
        height, width, channels = self.fit.shape
        sides = {"image_height": height, "image_width": width}
        features = height * width * channels
        return sides | {"image_channels": channels, "features": features}

    @property
    def fingerprint(self) -> str:
        """Equal for equal bytes of a batch, however they are scaled."""
        return hash_json(dataclasses.astuple(self.fit))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``image.json`` into `folder`, which exists."""
        content = {"version": 1, **dataclasses.asdict(self.fit)}
        if self.normalize is not None:
            content["normalize"] = self.normalize
        with open(os.path.join(folder, IMAGE_FILE), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)


def load_image_shape(folder: str | os.PathLike[str]) -> ImageShape:
    """Loads what `ImageShape.save` wrote into `folder`.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """

    def make(content: Any) -> ImageShape:
        names = ("height", "width", "channels")
        height, width, channels = (int(content[name]) for name in names)
        fit = Fit(height, width, channels, str(content["how"]))
        known = content.get("normalize")
        return ImageShape(fit, None if known is None else tuple(map(float, known)))

    return load_stored(folder, IMAGE_FILE, make)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageTable:
    """The images of a dataset.

    Attributes:
        shape: What they were made into.
        pixels: ``[N H W C]``, a memory map.
        digests: SHA-256 of the pixels of each image, ``[N 32]``.
        numbers: The row of each image, by the digest of its file.
        name: The value of examples that is an image.
    """

    shape: ImageShape
    pixels: UInt8[np.ndarray, "N H W C"]
    digests: UInt8[np.ndarray, "N 32"]
    numbers: Mapping[bytes, int]
    name: str

    @property
    def numbering(self) -> str:
        """Equal where each number means the same image."""
        return hashlib.sha256(b"".join(self.numbers)).hexdigest()

    def number_of(self, picture: SourceImage) -> int:
        """Returns the row of an image."""
        return self.numbers[picture.digest]

    def digest_of(self, example: Example) -> bytes:
        """Returns a name for the pixels of an example, whatever file they are from."""
        return self.digests[self.number_of(example.values[self.name])].tobytes()


def open_image_table(
    config: DataConfig,
    name: str,
    pools: dict[str, list[Example]],
    refuse: Refuse,
    shape: ImageShape | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> ImageTable:
    """Decodes the images of all examples, or finds them in the cache.

    Args:
        config: How they are read.
        name: The value of the examples that is an image.
        pools: The examples, by split; those whose image cannot be read are taken out.
        refuse: Raises for a bad example, or counts it.
        shape: That of a finished model, if there is one.
        report: Called with the fraction that is done.

    Raises:
        ConfigError: If Pillow is missing.
        DataError: If no image can be read; and whatever `refuse` raises.
    """
    first: dict[bytes, Example] = {}
    for examples in pools.values():
        for example in examples:
            first.setdefault(example.values[name].digest, example)
    chosen = shape.fit if shape else (config.image_shape or (), config.image_fit)
    digests = [digest.hex() for digest in first]
    wanted = dataclasses.astuple(chosen) if isinstance(chosen, Fit) else chosen
    key = hash_json(FORMAT, wanted, config.channels, config.max_pixels, digests)
    named = {digest: (example, name) for digest, example in first.items()}

    def build(folder: Path) -> Info:
        return _write(folder, config, named, shape, refuse, report)

    def load(folder: Path, info: Info) -> tuple[ImageTable, dict[bytes, str]]:
        return _load(folder, info, list(first), name)

    found, problems = open_entry(f"images{FORMAT}-{key[:32]}", build, load)
    for split, examples in pools.items():
        pools[split] = _keep(examples, name, problems, refuse)
    return found


def _write(
    folder: Path,
    config: DataConfig,
    named: Mapping[bytes, tuple[Example, str]],
    shape: ImageShape | None,
    refuse: Refuse,
    report: Callable[[float], None],
) -> Info:
    """Writes all pixels, and returns their shape and what is wrong with which image."""
    fit, problems = shape.fit if shape else None, {}
    digests = np.zeros((len(named), 32), np.uint8)
    pixels: Any = None
    for number, (example, name) in enumerate(named.values()):
        picture = example.values[name]
        try:
            fit = fit or choose_fit(picture, config)
            if pixels is None:
                size = (len(named), *fit.shape)
                path = folder / PIXELS_FILE
                pixels = np.lib.format.open_memmap(path, "w+", np.uint8, size)
            pixels[number] = decode(picture, fit, config.max_pixels)
            digest = hashlib.sha256(pixels[number].tobytes()).digest()
            digests[number] = np.frombuffer(digest, np.uint8)
        except BadImageError as error:
            problems[number] = str(error)
            if config.on_bad_example != "skip":
                refuse(explain(example, name, str(error)))
        if number % 64 == 0:
            report(number / len(named))
    if fit is None or pixels is None or len(problems) == len(named):
        example, name = next(iter(named.values()))
        first = explain(example, name, problems[0]).message
        raise DataError(f"None of the {len(named):,} images can be read. {first}")
    pixels.flush()
    np.save(folder / DIGESTS_FILE, digests)
    return {"fit": dataclasses.asdict(fit), "problems": problems}


def _load(
    folder: Path, info: Info, files: Sequence[bytes], name: str
) -> tuple[ImageTable, dict[bytes, str]]:
    shape = ImageShape(Fit(**info["fit"]))
    pixels = np.load(folder / PIXELS_FILE, mmap_mode="r", allow_pickle=False)
    digests = np.load(folder / DIGESTS_FILE, allow_pickle=False)
    numbers = {digest: number for number, digest in enumerate(files)}
    problems = {files[int(i)]: text for i, text in info["problems"].items()}
    return ImageTable(shape, pixels, digests, numbers, name), problems


def _keep(
    examples: list[Example], name: str, problems: Mapping[bytes, str], refuse: Refuse
) -> list[Example]:
    """Returns the examples whose image can be read; the others are refused."""
    kept = []
    for example in examples:
        problem = problems.get(example.values[name].digest)
        if problem is None:
            kept.append(example)
        else:
            refuse(explain(example, name, problem))
    return kept


def explain(example: Example, name: str, problem: str) -> BadDocument:
    """Returns what to yield for an example whose image cannot be read."""
    path = example.values[name].path
    return example.bad("bad_image", f"has the image {show(path)}, which {problem}.")
