"""Ways in which a checkpoint can be damaged, each a function of a random source."""

import shutil
from pathlib import Path
from random import Random

from slimjax.store.manifest import MANIFEST


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def delete(checkpoint: Path, random: Random) -> None:
    random.choice(files_of(checkpoint)).unlink()


def truncate(checkpoint: Path, random: Random) -> None:
    path = random.choice([p for p in files_of(checkpoint) if p.stat().st_size])
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])


def lengthen(checkpoint: Path, random: Random) -> None:
    path = random.choice(files_of(checkpoint))
    path.write_bytes(path.read_bytes() + random.randbytes(random.randint(1, 64)))


def flip(checkpoint: Path, random: Random) -> None:
    path = random.choice([p for p in files_of(checkpoint) if p.stat().st_size])
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))


def zero(checkpoint: Path, random: Random) -> None:
    path = random.choice([p for p in files_of(checkpoint) if p.stat().st_size])
    path.write_bytes(bytes(path.stat().st_size))


def swap(checkpoint: Path, random: Random) -> None:
    one = random.choice(files_of(checkpoint))
    unlike = [p for p in files_of(checkpoint) if p.read_bytes() != one.read_bytes()]
    other, content = random.choice(unlike), one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def swap_arrays(checkpoint: Path, random: Random) -> None:
    """Gives it the arrays of another checkpoint."""
    del random
    others = [p for p in checkpoint.parent.iterdir() if p != checkpoint]
    shutil.rmtree(checkpoint / "state")
    shutil.copytree(others[0] / "state", checkpoint / "state")


def add_junk(checkpoint: Path, random: Random) -> None:
    folders = [p.parent for p in files_of(checkpoint / "state")]
    (random.choice(folders) / "junk").write_bytes(random.randbytes(99))


def replace_by_junk(checkpoint: Path, random: Random) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()
    (checkpoint / "state").write_bytes(random.randbytes(99))
    (checkpoint / MANIFEST).write_text('{"step": 1}')


def unmark(checkpoint: Path, random: Random) -> None:
    del random
    (checkpoint / MANIFEST).unlink()


WAYS = (delete, truncate, lengthen, flip, zero, swap, swap_arrays, add_junk)
WAYS += (replace_by_junk, unmark)
