"""Texts with two marked parts as rows, for questions about how the parts are related.

The first part stands between two ``@``, the second between two ``#``, as plain text:
every tokenizer knows these signs, and no table of tokens grows. A text that is longer
than a row loses tokens at its ends first, then between the two parts.

References:
    Zhou and Chen, "An Improved Baseline for Sentence-level Relation Extraction", 2022,
    section 3.2 (typed entity markers as punctuation, here without types).
"""

import numpy as np

from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.material import Material
from slimjax.data.text_columns import encode_row, prepare_tokens, stored_type
from slimjax.data.tokenizer import Ids
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.reading import BadDocument

Span = tuple[int, int]
MARKS = ("@", "#")
"""Signs around the first part, and around the second."""


def check_spans(example: Example) -> BadDocument | None:
    """Returns what is wrong with parts of a text: outside of it, empty, overlapping."""
    text, spans = example.values["text"], example.values["spans"]
    for start, end in spans:
        if not start < end <= len(text):
            where = "empty" if start >= end else "outside of its text"
            problem = f"has the span {show([start, end])}, which is {where}."
            return example.bad("wrong_span", problem)
    one, other = sorted(spans)
    if other[0] < one[1]:
        shown = show([list(span) for span in spans])
        return example.bad("wrong_span", f"has spans that overlap: {shown}.")
    return None


def mark(text: str, spans: tuple[Span, Span]) -> tuple[str, str, str]:
    """Returns what is before the first mark, what is marked, and what follows.

    Examples:
        >>> mark("Ada, born in Rome.", ((13, 17), (0, 3)))
        ('', '# Ada #, born in @ Rome @', '.')
    """
    (one, other), (sign, last) = spans, MARKS
    if one > other:
        one, other, sign, last = other, one, last, sign
    first, second = text[slice(*one)], text[slice(*other)]
    between = text[one[1] : other[0]]
    core = f"{sign} {first} {sign}{between}{last} {second} {last}"
    return text[: one[0]], core, text[other[1] :]


def fit_around(parts: tuple[Ids, Ids, Ids], room: int) -> Ids:
    """Returns at most `room` tokens: those in the middle, and as many around them.

    Examples:
        >>> parts = tuple(np.int32(x) for x in ([0, 1, 2, 3], [7, 8], [9]))
        >>> fit_around(parts, 5).tolist(), fit_around(parts, 1).tolist()
        ([2, 3, 7, 8, 9], [8])
    """
    before, core, after = parts
    spare = room - len(core)
    if spare < 0:
        half = room // 2
        return np.concatenate([core[:half], core[len(core) - (room - half) :]])
    num_after = min(len(after), max(spare - len(before), spare // 2))
    num_before = min(len(before), spare - num_after)
    kept = before[len(before) - num_before :], core, after[:num_after]
    return np.concatenate(kept)


def prepare_marked(material: Material) -> Prepared:
    """Returns the column of texts with two marked parts."""
    tokenizer, config = material.tokenizer("text"), material.config
    seq_len, room = config.seq_len, max(config.seq_len - 2, 0)

    def encode(examples: list[Example]) -> Encoded:
        marked = [mark(e.values["text"], e.values["spans"]) for e in examples]
        columns = list(zip(*marked, strict=True)) or [(), (), ()]
        parts = zip(*(tokenizer.encode_batch(list(c)) for c in columns), strict=True)
        rows = np.empty((len(examples), seq_len), stored_type(tokenizer))
        is_cut, num_tokens = np.zeros(len(examples), bool), 0
        for i, own in enumerate(parts):
            ids = fit_around(own, room)
            rows[i] = encode_row(tokenizer, ids, seq_len)
            is_cut[i] = len(ids) < sum(map(len, own))
            num_tokens += min(len(ids) + 2, seq_len)
        counts = {"tokens": num_tokens, "cut": int(is_cut.sum())}
        return Encoded({"tokens": rows}, counts, is_cut=is_cut)

    return prepare_tokens(tokenizer, config, encode, "marked")
