"""The bytes of each entry of a vocabulary, as numbers for `slimjax.nn.characters`."""

import numpy as np
from jaxtyping import Int32

from slimjax.data.tokenizer import Tokenizer

FIRST_SILENT, NUM_SILENT = 257, 15
"""Numbers of tokens without bytes, such as the end of a text."""


def spell(tokenizer: Tokenizer, length: int) -> Int32[np.ndarray, "V length"]:
    """Returns the first bytes of each entry, 1 to 256, and 0 behind the last one.

    An entry without bytes has a number of its own, as far as there are any.

    Args:
        tokenizer: Knows the bytes.
        length: Bytes that are kept.

    Examples:
        >>> from slimjax.data.byte_tokenizer import BytesTokenizer
        >>> spell(BytesTokenizer(), 2)[[0, 1, 3 + 97]].tolist()
        [[257, 0], [258, 0], [98, 0]]
    """
    rows = np.zeros((tokenizer.vocab_size, length), np.int32)
    silent = 0
    for number, row in enumerate(rows):
        own = np.frombuffer(tokenizer.decode_bytes([number])[:length], np.uint8)
        row[: len(own)] = own.astype(np.int32) + 1
        if not len(own):
            row[0] = FIRST_SILENT + min(silent, NUM_SILENT - 1)
            silent += 1
    return rows
