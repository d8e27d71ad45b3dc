"""Questions and contexts as rows: tokens, and where the answer begins and ends.

    bos, question, eos, a window of the context, eos, padding

Imported tokenizers may want several eos before the context, as that of RoBERTa does.
Places are first pieces of words of the context; place 0, bos, stands for no answer. A
context that is longer than a row has several rows, which overlap by half. A row whose
window does not hold the whole answer has none.
"""

from typing import NamedTuple

import numpy as np

from slimjax.data.columns import NO_LABEL
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.material import Material
from slimjax.data.text_columns import prepare_tokens, stored_type
from slimjax.data.tokenizer import Ids, Tokenizer
from slimjax.data.tokens import SEPARATORS
from slimjax.data.word_pieces import (
    NO_WORD,
    Window,
    cut_windows,
    encode_words,
    tokenizer_of_words,
)
from slimjax.errors import ConfigError
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.words import Words, split_text

QUESTION, CONTEXT, ANSWERS = "question", "context", "answers"
KINDS = {QUESTION: "text", CONTEXT: "text", ANSWERS: "answers"}
START, END = "start", "end"
"""Names of the two heads, and of the fields with the right places."""

WORDS = "words"
"""Name of an array beside the fields: the word that begins at a position, ``[T]``."""

LEAST_LENGTH = 8
"""Shortest row that holds a question and a context."""

OVERLAP = 2
NO_ANSWER = 0
"""Place of no answer."""


class Row(NamedTuple):
    """A question with a window of its context, ``[T]`` each, and places of words.

    Attributes:
        tokens: The tokens.
        words: The word of the context that begins at each position, or `NO_WORD`.
    """

    tokens: np.ndarray
    words: np.ndarray

    def place_of(self, first: int, last: int) -> tuple[int, int]:
        """Returns the places of two words; `NO_ANSWER` twice if one is not here."""
        found = [np.flatnonzero(self.words == word) for word in (first, last)]
        if not all(map(len, found)):
            return NO_ANSWER, NO_ANSWER
        return int(found[0][0]), int(found[1][0])


def check_answers(example: Example) -> BadDocument | None:
    """Returns what is wrong if an answer does not stand where it is said to."""
    context = example.values[CONTEXT]
    for text, start in example.values.get(ANSWERS, ()):
        found = context[start : start + len(text)]
        if found != text:
            problem = (
                f"has the answer {show(text)} at {start}, where the context has "
                f"{show(found) if found else 'nothing'}."
            )
            return example.bad("wrong_answer", problem)
    return None


def words_of_answer(words: Words, text: str, start: int) -> tuple[int, int]:
    """Returns the first and the last word of a context that an answer touches.

    Examples:
        >>> words_of_answer(split_text("It is in Rome, Italy."), "Rome", 9)
        (3, 3)
    """
    ends = [end for _, end in words.spans]
    starts = [begin for begin, _ in words.spans]
    first = int(np.searchsorted(ends, start, "right"))
    last = int(np.searchsorted(starts, start + len(text), "left")) - 1
    first = min(first, len(ends) - 1)
    return first, max(last, first)


def prepare_questions(material: Material) -> list[Prepared]:
    """Returns the columns of questions, contexts and answers, if there are any.

    Raises:
        ConfigError: If rows are too short.
    """
    config = material.config
    if config.seq_len < LEAST_LENGTH:
        raise ConfigError(
            f"config.data.seq_len={config.seq_len} holds no question and context. Set "
            f"{LEAST_LENGTH} or more."
        )
    texts = (
        split_text(example.values[name]).texts
        for example in material.splits["train"]
        for name in (QUESTION, CONTEXT)
    )
    tokenizer = tokenizer_of_words(material, texts)
    has_answers = ANSWERS in material.kinds

    def encode(examples: list[Example]) -> Encoded:
        questions = [split_text(example.values[QUESTION]) for example in examples]
        contexts = [split_text(example.values[CONTEXT]) for example in examples]
        asked = encode_words(tokenizer, (words.texts for words in questions))
        told = encode_words(tokenizer, (words.texts for words in contexts))
        rows, places, owners = [], [], []
        is_cut = np.zeros(len(examples), bool)
        for i, example in enumerate(examples):
            own, is_cut[i] = _rows_of(tokenizer, asked[i], told[i], config.seq_len)
            rows += own
            owners += [i] * len(own)
            if has_answers:
                found = _places_of(own, contexts[i], example.values[ANSWERS])
                is_cut[i] |= bool(example.values[ANSWERS]) and not any(map(any, found))
                places += found
        shape = len(rows), config.seq_len
        stored = stored_type(tokenizer)
        tokens = np.array([row.tokens for row in rows], stored).reshape(shape)
        words = np.array([row.words for row in rows], np.int32).reshape(shape)
        arrays = {"tokens": tokens, WORDS: words}
        if has_answers:
            both = np.array(places, np.int32).reshape(-1, 2)
            arrays |= {START: both[:, 0], END: both[:, 1]}
        counts = {"tokens": int(np.count_nonzero(tokens != tokenizer.pad_id))}
        counts["cut"] = int(is_cut.sum())
        targets = np.full(len(rows), 2, np.int64)
        each = np.array(owners, np.int64)
        return Encoded(arrays, counts, each, targets, is_cut)

    names = (START, END) if has_answers else ()
    fields = {name: Field((), "int32", (), fill=NO_LABEL) for name in names}
    between = tokenizer.special.get(SEPARATORS, 1)
    rows = ["spans"] if between == 1 else ["spans", between]
    return [prepare_tokens(tokenizer, config, encode, *rows, fields=fields)]


def _rows_of(
    tokenizer: Tokenizer, question: list[Ids], context: list[Ids], seq_len: int
) -> tuple[list[Row], bool]:
    """Returns the rows of an example, and whether something of it is in none."""
    between = [tokenizer.eos_id] * tokenizer.special.get(SEPARATORS, 1)
    asked = np.concatenate(question)[: seq_len // 2 + 1 - len(between)]
    room = seq_len - 2 - len(between) - len(asked)
    is_cut = sum(map(len, question)) > len(asked) or max(map(len, context)) > room
    pieces = [ids[:room] for ids in context]
    windows = cut_windows([len(ids) for ids in pieces], room, OVERLAP)
    head = np.concatenate([[tokenizer.bos_id], asked, between])
    rows = [_row_of(tokenizer, head, pieces, window, seq_len) for window in windows]
    return rows, is_cut


def _row_of(
    tokenizer: Tokenizer,
    head: np.ndarray,
    pieces: list[Ids],
    window: Window,
    seq_len: int,
) -> Row:
    own = pieces[window.start : window.end]
    tokens = np.full(seq_len, tokenizer.pad_id, np.int32)
    words = np.full(seq_len, NO_WORD, np.int32)
    content = np.concatenate([head, *own, [tokenizer.eos_id]])
    tokens[: len(content)] = content
    places = len(head) + np.cumsum([0, *(len(ids) for ids in own[:-1])])
    words[places] = np.arange(window.start, window.end)
    return Row(tokens, words)


def _places_of(
    rows: list[Row], context: Words, answers: tuple[tuple[str, int], ...]
) -> list[tuple[int, int]]:
    """Returns where the first answer begins and ends in each row."""
    if not answers:
        return [(NO_ANSWER, NO_ANSWER)] * len(rows)
    words = words_of_answer(context, *answers[0])
    return [row.place_of(*words) for row in rows]
