"""Where a text ends, and what of it can be shown before it is whole."""

import codecs
from collections.abc import Sequence

from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.special_tokens import list_ends
from slimjax.data.tokenizer import Tokenizer


def ends_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Returns the ids that end a text: that of the tokenizer, and others of its model.

    Args:
        tokenizer: The tokenizer, with the files of a pretrained model beside it or not.
    """
    files = tokenizer.files if isinstance(tokenizer, JsonTokenizer) else {}
    others = [i for i in list_ends(files) if i < tokenizer.vocab_size]
    return tuple(dict.fromkeys([tokenizer.eos_id, *others]))


class TextStream:
    r"""A text that is made piece by piece, up to its end or a stop string.

    Bytes that are not UTF-8 become U+FFFD, as they do in a text decoded at once. What
    may be the beginning of a character or of a stop string is kept back until it is
    known.

    Attributes:
        is_over: Whether the text has ended; what is added later is left out.

    Examples:
        >>> text = TextStream(["END"])
        >>> [text.add(piece) for piece in (b"caf\xc3", b"\xa9 an E", b"ND of")]
        ['caf', 'é an ', '']
        >>> text.is_over, text.finish()
        (True, '')
    """

    def __init__(self, stop: Sequence[str] = ()):
        """Begins with an empty text.

        Args:
            stop: Strings before which the text ends.
        """
        self.stop, self.is_over = tuple(stop), False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""

    def add(self, piece: bytes, *, is_last: bool = False) -> str:
        """Returns what can be shown after the next bytes of the text."""
        if self.is_over:
            return ""
        text = self._waiting + self._decoder.decode(piece, final=is_last)
        ends = [at for string in self.stop if (at := text.find(string)) >= 0]
        self.is_over = is_last or bool(ends)
        num_shown = min(ends, default=len(text))
        if not self.is_over:
            num_shown -= _count_kept_back(text, self.stop)
        self._waiting = text[num_shown:]
        return text[:num_shown]

    def finish(self) -> str:
        """Returns what was kept back, when no more is to come."""
        return self.add(b"", is_last=True)


def _count_kept_back(text: str, stop: Sequence[str]) -> int:
    """Returns the characters at a text's end that may begin a stop string."""
    longest = max((len(string) for string in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(string.startswith(text[-length:]) for string in stop):
            return length
    return 0
