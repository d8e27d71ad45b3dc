"""Codes of few bits, one after the other, in as few bytes as that takes."""

import numpy as np
from jaxtyping import Int, Integer, UInt8


def pack_codes(
    codes: Integer[np.ndarray, "U E"], bits: Int[np.ndarray, " U"]
) -> UInt8[np.ndarray, " bytes"]:
    """Returns the codes of all rows, each in as many bits as its row has.

    Rows of equal bits stand together, the fewest first, and begin with a byte of their
    own; within a byte the first code takes the lowest bits.

    Examples:
        >>> pack_codes(np.array([[1, 2], [3, 0]]), np.array([2, 2])).tolist()
        [57]
    """
    parts = [np.zeros(0, np.uint8)]
    for width in np.unique(bits):
        own = codes[bits == width].reshape(-1).astype("<u2")
        each_bit = own[:, None].view(np.uint8)
        if width < 16:
            each_bit = np.unpackbits(each_bit, axis=1, bitorder="little")[:, :width]
            each_bit = np.packbits(each_bit, bitorder="little")
        parts.append(each_bit.reshape(-1))
    return np.concatenate(parts)


def unpack_codes(
    stream: UInt8[np.ndarray, " bytes"], bits: Int[np.ndarray, " U"], length: int
) -> Int[np.ndarray, "U E"]:
    """Returns the codes that `pack_codes` packed.

    Args:
        stream: The bytes; more than needed are left alone.
        bits: Bits of each row.
        length: Codes a row, E.

    Raises:
        ValueError: If the stream is too short.

    Examples:
        >>> unpack_codes(np.array([57], np.uint8), np.array([2, 2]), 2).tolist()
        [[1, 2], [3, 0]]
    """
    codes, start = np.zeros((len(bits), length), np.int32), 0
    if len(stream) < packed_bytes(bits, length):
        raise ValueError("the stream of codes is too short")
    for width in np.unique(bits):
        is_own = bits == width
        count = int(is_own.sum()) * length
        end = start + packed_bytes(bits[is_own], length)
        each_bit = np.unpackbits(stream[start:end], bitorder="little")
        each_bit = each_bit[: count * width].reshape(count, width)
        own = np.packbits(each_bit, axis=1, bitorder="little").astype(np.int32)
        own = (own << (8 * np.arange(own.shape[1], dtype=np.int32))).sum(1)
        codes[is_own] = own.reshape(int(is_own.sum()), length)
        start = end
    return codes


def packed_bytes(bits: Int[np.ndarray, " U"], length: int) -> int:
    """Returns the bytes that `pack_codes` takes for rows of `length` codes.

    Examples:
        >>> packed_bytes(np.array([2, 3, 3]), 3)
        4
    """
    widths, counts = np.unique(bits, return_counts=True)
    return sum(
        -(-int(w * n) * length // 8) for w, n in zip(widths, counts, strict=True)
    )
