"""Documents as rows of sentences, and which of them a summary has.

    bos, then each sentence with a bos before it, eos, padding

A sentence is answered at its bos. An example has a ``document``, which is split into
sentences here, or ``sentences``; and a ``summary``, or ``labels``, 0 or 1 for each
sentence. Documents that are longer than a row have several rows, which overlap.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from slimjax.data.columns import NO_LABEL
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.material import Material
from slimjax.data.text_columns import prepare_tokens, stored_type
from slimjax.data.tokenizer import Ids, Tokenizer
from slimjax.data.word_pieces import cut_windows, row_of
from slimjax.errors import ConfigError, DataError
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument
from slimjax.text.words import join_tokens, split_text

CHOSEN = "chosen"
"""Name of the head, and of the field: 1 where a sentence is in the summary."""

SENTENCES = "sentence_numbers"
"""Name of an array beside the fields: the sentence answered at a position, ``[T]``."""

KINDS = {
    "document": "text",
    "sentences": "sentences",
    "summary": "passage",
    "labels": "choices",
}
PAIRS = ("document", "sentences"), ("summary", "labels")
"""What is read, and what is right: an example has one of each."""

_END = re.compile(
    r"(?:[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s)"
    r"|[\u3002\uff01\uff1f]+[\u201d\u2019\u300d\u300f\uff09]*|\n+)\s*"
)
LEAST_LENGTH = 4


def choose_sentence_kinds(fields: Collection[str]) -> dict[str, str]:
    """Returns names and kinds of what is read of an example.

    Args:
        fields: Names that the config has. Of a pair that has none of them, each value
            may be missing, and its name stands for itself.
    """
    kinds: dict[str, str] = {}
    for pair in PAIRS:
        named = {name: KINDS[name] for name in pair if name in fields}
        kinds |= named or {name: f"{KINDS[name]}?" for name in pair}
    return kinds


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, without the space between them.

    Examples:
        >>> split_sentences("It works. Does it? 真的。好。")
        ['It works.', 'Does it?', '真的。', '好。']
    """
    found, start = [], 0
    for match in _END.finditer(text):
        found.append(text[start : match.end()])
        start = match.end()
    found.append(text[start:])
    return [sentence.strip() for sentence in found if sentence.strip()]


def sentences_of(example: Example) -> Sequence[str]:
    """Returns the sentences of an example."""
    if "sentences" in example.values:
        return example.values["sentences"]
    return split_sentences(example.values["document"])


def join_sentences(sentences: Sequence[str]) -> str:
    """Returns sentences as one text; no space stands beside Chinese characters."""
    return "".join(join_tokens(sentences).texts)


def choices_of(example: Example, num_sentences: int, max_words: int = 0) -> list[int]:
    """Returns 0 or 1 for each sentence: the labels, or those nearest to the summary."""
    if "labels" in example.values:
        return list(example.values["labels"])
    sentences = sentences_of(example)
    chosen = choose_like(sentences, example.values["summary"], num_sentences, max_words)
    return [int(i in chosen) for i in range(len(sentences))]


def choose_like(
    sentences: Sequence[str], summary: str, num_sentences: int, max_words: int = 0
) -> list[int]:
    """Returns the sentences that share most with a summary, chosen one by one.

    Each one that is taken adds most to the F1 of words plus that of pairs of words; the
    end is where none adds anything.

    Args:
        sentences: Those of the document.
        summary: What they should say.
        num_sentences: Most sentences; 0 for no limit.
        max_words: Most words of all that is chosen; 0 for no limit.

    References:
        Nallapati, Zhai and Zhou, "SummaRuNNer", 2017, section 3.

    Examples:
        >>> choose_like(["a b", "c d", "a c"], "c d e", 2)
        [1]
    """
    right, own = _count(summary), [_count(sentence) for sentence in sentences]
    sizes = [sum(words.values()) for words, _ in own]
    chosen: list[int] = []
    best, said = 0.0, (Counter[str](), Counter[str]())
    while not num_sentences or len(chosen) < num_sentences:
        room = max_words - sum(sizes[i] for i in chosen)
        left = [i for i in range(len(own)) if i not in chosen]
        left = [i for i in left if not max_words or sizes[i] <= room]
        scores = [
            _overlap((said[0] + own[i][0], said[1] + own[i][1]), right) for i in left
        ]
        if not scores or max(scores) <= best:
            break
        best = max(scores)
        taken = left[scores.index(best)]
        chosen.append(taken)
        said = said[0] + own[taken][0], said[1] + own[taken][1]
    return sorted(chosen)


def count_words(sentence: str) -> int:
    """Returns the words of a sentence; a Chinese character is one."""
    return sum(_count(sentence)[0].values())


def check_sentences(example: Example) -> BadDocument | None:
    """Returns what is wrong with sentences and labels that do not fit together."""
    names = set(example.values)
    if ("document" in names) == ("sentences" in names):
        has = "a document and sentences" if "document" in names else "no document"
        problem = (
            f"has {has}; it needs a document or sentences. Set config.data.fields="
            '{"document": .., "summary": ..}.'
        )
        return example.bad("missing_field", problem)
    sentences = sentences_of(example)
    if "labels" in names and len(example.values["labels"]) != len(sentences):
        counts = (
            f"{len(sentences)} sentences and {len(example.values['labels'])} labels"
        )
        return example.bad("wrong_labels", f"has {counts}.")
    return None


def prepare_sentences(
    material: Material, num_sentences: int, max_words: int
) -> list[Prepared]:
    """Returns the columns of documents, and of the sentences of their summaries.

    Raises:
        ConfigError: If rows are too short.
        DataError: If there are examples to learn from without targets.
    """
    config, has_targets = (
        material.config,
        bool({"summary", "labels"} & {*material.kinds}),
    )
    _check(material, has_targets=has_targets)
    tokenizer = material.tokenizer("document", "sentences")
    room = config.seq_len - 2

    def encode(examples: list[Example]) -> Encoded:
        rows, numbers, choices, owners = [], [], [], []
        is_cut = np.zeros(len(examples), bool)
        for i, example in enumerate(examples):
            pieces = _pieces_of(tokenizer, sentences_of(example))
            is_cut[i] = any(len(ids) > room for ids in pieces)
            pieces = [ids[:room] for ids in pieces]
            own = np.zeros(len(pieces), np.int64)
            if has_targets:
                own = np.array(choices_of(example, num_sentences, max_words))
            for window in cut_windows([len(ids) for ids in pieces], room):
                row, answered = row_of(tokenizer, pieces, window, config)
                rows.append(row)
                numbers.append(answered)
                choices.append(np.where(answered < 0, NO_LABEL, own[answered]))
                owners.append(i)
        shape = len(rows), config.seq_len
        tokens = np.array(rows, stored_type(tokenizer)).reshape(shape)
        places = np.array(numbers, np.int32).reshape(shape)
        arrays: dict[str, np.ndarray] = {"tokens": tokens, SENTENCES: places}
        if has_targets:
            arrays[CHOSEN] = np.array(choices, np.int8).reshape(shape)
        counts = {"tokens": int(np.count_nonzero(tokens != tokenizer.pad_id))}
        counts["cut"] = int(is_cut.sum())
        targets = np.count_nonzero(places >= 0, axis=1)
        each = np.array(owners, np.int64)
        return Encoded(arrays, counts, each, targets, is_cut)

    field = Field((config.seq_len,), "int32", ("positions",), fill=NO_LABEL)
    fields = {CHOSEN: field} if has_targets else {}
    known = ["sentences", num_sentences, max_words]
    return [prepare_tokens(tokenizer, config, encode, *known, fields=fields)]


def _check(material: Material, *, has_targets: bool) -> None:
    if material.config.seq_len < LEAST_LENGTH:
        raise ConfigError(
            f"config.data.seq_len={material.config.seq_len} has no room for a "
            f"sentence. Set {LEAST_LENGTH} or more."
        )
    for examples in material.splits.values():
        if examples and not has_targets:
            raise DataError(
                f"{examples[0].where} has no field summary, and no field labels. Set "
                'config.data.fields, such as {"document": "text", "summary": "title"}.'
            )


def _pieces_of(tokenizer: Tokenizer, sentences: Sequence[str]) -> list[Ids]:
    """Returns the tokens of each sentence, with a bos before them."""
    bos = np.array([tokenizer.bos_id], np.int32)
    return [np.concatenate([bos, ids]) for ids in tokenizer.encode_batch(sentences)]


def _count(text: str) -> tuple[Counter[str], Counter[str]]:
    """Returns how often a text has each word, and each pair of words."""
    words = [word.strip() for word in split_text(text.lower()).texts]
    words = [word for word in words if word[0].isalnum()]
    pairs = map(" ".join, itertools.pairwise(words))
    return Counter(words), Counter(pairs)


def _overlap(
    said: tuple[Counter[str], Counter[str]], right: tuple[Counter[str], Counter[str]]
) -> float:
    """Returns the sum of two F1s: of words and of pairs of words."""
    parts = []
    for own, other in zip(said, right, strict=True):
        shared = sum((own & other).values())
        parts.append(2 * shared / max(sum(own.values()) + sum(other.values()), 1))
    return sum(parts)
