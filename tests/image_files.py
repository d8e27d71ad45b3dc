"""Image files that tests write, with what must be read of them."""

import json

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 5, 7


def draw(seed: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3):
    """Returns random pixels ``[H W C]``, uint8."""
    source = np.random.default_rng(seed)
    return source.integers(0, 256, (height, width, channels)).astype(np.uint8)


def save(path, pixels, **options):
    """Writes pixels, of one channel or of several, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(plain).save(path, **options)
    return path


def make_folder(root, number=12, classes=("cat", "dog"), size=(HEIGHT, WIDTH)):
    """Writes a folder of images for each class, bright ones and dark ones."""
    for i in range(number):
        name = classes[i % len(classes)]
        pixels = draw(i, *size) // 2 + (128 if name == classes[0] else 0)
        save(root / name / f"{i:03}.png", pixels.astype(np.uint8))
    return root


def write_idx(folder, part, images, labels):
    """Writes bytes as the two IDX files of a part: ``train`` or ``t10k``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images", images), ("labels", labels)):
        head = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
        path = folder / f"{part}-{name}-idx{array.ndim}-ubyte"
        path.write_bytes(head + array.astype(np.uint8).tobytes())


def write_questions(path, rows):
    """Writes lines of JSON."""
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path
