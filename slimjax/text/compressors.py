"""What general compressors make of a text."""

import dataclasses
import lzma
import shutil
import subprocess
import tempfile

from slimjax.errors import DataError

NO_ZSTD = "the program zstd is not installed"


@dataclasses.dataclass(frozen=True)
class CompressedSizes:
    """Bytes of a text, as it is and compressed.

    Attributes:
        raw: UTF-8 bytes.
        xz: Bytes of ``xz -9e``.
        zstd: Bytes of ``zstd -19 --long``, or None where there is no such program.
    """

    raw: int
    xz: int
    zstd: int | None


def has_zstd() -> bool:
    """Returns whether the program zstd is installed."""
    return shutil.which("zstd") is not None


def compress(text: bytes) -> CompressedSizes:
    """Returns the sizes of a text. It takes some seconds for each 10 MB."""
    zstd = count_zstd(text) if has_zstd() else None
    return CompressedSizes(len(text), count_xz(text), zstd)


def count_xz(text: bytes) -> int:
    """Returns the bytes of ``xz -9e``."""
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def count_zstd(text: bytes) -> int:
    """Returns the bytes of ``zstd -19 --long``.

    Raises:
        DataError: If the program fails.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        command = ["zstd", "-19", "--long", "--quiet", "--stdout", file.name]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise DataError(f"zstd -19 --long fails: {reason}.")
    return len(done.stdout)
