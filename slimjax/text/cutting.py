"""Cutting a stream of bytes into documents, without losing one byte."""

from collections.abc import Iterable, Iterator


def cut_bytes(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    r"""Yields parts of at most `max_bytes` that concatenate to the input.

    A part ends, in this order of preference, after the last blank line that fits,
    after the last line that fits, or at the last whole UTF-8 character that fits.
    What fits as a whole stays whole.

    Args:
        blocks: The input, in pieces of any size; one is held in memory at a time.
        max_bytes: Size of a part, at least 4, the longest character.

    Examples:
        >>> list(cut_bytes([b"one\n", b"\ntwo\nthree"], 8))
        [b'one\n\n', b'two\n', b'three']
    """
    buffer = b""
    for block in blocks:
        buffer += block
        start = 0
        while len(buffer) - start > max_bytes:
            end = _find_cut(buffer, start, start + max_bytes)
            yield buffer[start:end]
            start = end
        buffer = buffer[start:]
    if buffer:
        yield buffer


def cut_text(text: str, max_bytes: int) -> Iterator[str]:
    """Yields consecutive parts of `text`, cut as `cut_bytes` cuts its UTF-8."""
    data = text.encode()
    if len(data) <= max_bytes:
        yield text
        return
    for part in cut_bytes([data], max_bytes):
        yield part.decode()


def _find_cut(buffer: bytes, start: int, end: int) -> int:
    """Returns where the part that begins at `start` ends, at `end` or before it."""
    for breaks in ((b"\n\n", b"\n\r\n"), (b"\n",)):
        places = [(buffer.rfind(b, start, end), len(b)) for b in breaks]
        if found := [place + length for place, length in places if place >= 0]:
            return max(found)
    for cut in range(end, end - 4, -1):
        if buffer[cut] & 0xC0 != 0x80:  # Not the inside of a character.
            return cut
    return end
