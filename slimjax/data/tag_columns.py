"""Tagged texts as rows: tokens, and the class of each word at its first piece.

An example has ``tokens`` and ``tags``, or a ``text`` and ``entities``, which are places
of characters; then its words are split here, and an entity has all words that it
touches, from the beginning of the first to the end of the last. Texts that are longer
than a row have several rows, which overlap.
"""

import itertools
from collections.abc import Collection

import numpy as np

from slimjax.data.columns import NO_LABEL
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.entity_words import (
    find_words,
    tag_entities,
    widen_entities,
    words_of,
)
from slimjax.data.material import Material
from slimjax.data.tags import Tags, count_tags, find_orphan, to_bio
from slimjax.data.text_columns import prepare_tokens, stored_type
from slimjax.data.word_pieces import (
    cut_windows,
    encode_words,
    row_of,
    tokenizer_of_words,
)
from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.examples import Example
from slimjax.text.files import show
from slimjax.text.reading import BadDocument

TAGS = "tags"
"""Name of the head, of the field, of the codec, and of what a file calls them."""

WORDS = "words"
"""Name of an array beside the fields: the word that a position answers for, ``[T]``."""

OF_TOKENS = {"tokens": "tokens", TAGS: "tags"}
OF_TEXTS = {"text": "text", "entities": "entities"}
"""Kinds of values of the two kinds of examples."""


def choose_tag_kinds(fields: Collection[str]) -> dict[str, str]:
    """Returns names and kinds of what is read of an example.

    Args:
        fields: Names that the config has; without any, each value may be missing.

    Examples:
        >>> choose_tag_kinds(["text"])
        {'text': 'text', 'entities': 'entities'}
    """
    for kinds in (OF_TOKENS, OF_TEXTS):
        if fields and set(fields) <= set(kinds):
            return kinds
    return {name: f"{kind}?" for name, kind in (OF_TOKENS | OF_TEXTS).items()}


def tags_of(example: Example) -> list[str]:
    """Returns the tag of each word in BIO."""
    values = example.values
    if TAGS in values:
        return to_bio(values[TAGS])
    return tag_entities(words_of(example), values["entities"])


def check_tags(example: Example, *, repairs: bool) -> BadDocument | None:
    """Returns what is wrong with tokens, tags or entities that do not fit together.

    Args:
        example: Its targets may be missing.
        repairs: Whether a tag that goes on with nothing is taken for one that begins.
    """
    names = set(example.values)
    targets = names - {"tokens", "text"}
    if names - targets not in ({"tokens"}, {"text"}) or not (
        names <= set(OF_TOKENS) or names <= set(OF_TEXTS)
    ):
        has = f"has the fields {', '.join(sorted(names))}" if names else "has no field"
        problem = (
            f"{has}; it needs tokens and tags, or text and entities. Set "
            'config.data.fields={"tokens": .., "tags": ..}.'
        )
        return example.bad("missing_field", problem)
    if TAGS in names:
        found = _check_list(example)
        return found or (None if repairs else _check_orphans(example))
    return _check_places(example) if "entities" in names else None


def _check_list(example: Example) -> BadDocument | None:
    tokens, tags = example.values["tokens"], example.values[TAGS]
    if len(tokens) == len(tags):
        return None
    problem = f"has {len(tokens)} tokens and {len(tags)} tags."
    return example.bad("wrong_tags", problem)


def _check_orphans(example: Example) -> BadDocument | None:
    tags = example.values.get(TAGS, ())
    place = find_orphan(tags)
    if place is None:
        return None
    before = f"{show(tags[place - 1])} is before it" if place else "it is the first tag"
    problem = (
        f"field tags[{place}] is {show(tags[place])}, which goes on with nothing: "
        f"{before}. With config.data.on_bad_example=repair it begins an entity."
    )
    return example.bad("orphan_tag", problem)


def _check_places(example: Example) -> BadDocument | None:
    size, entities = len(example.values["text"]), example.values["entities"]
    for entity in entities:
        start, end, _ = entity
        if not start < end <= size:
            problem = (
                f"has the entity {show(list(entity))}, which is outside of its text of "
                f"{size} characters."
            )
            if start >= end:
                problem = f"has the entity {show(list(entity))}, which is empty."
            return example.bad("wrong_span", problem)
    for one, other in itertools.pairwise(entities):
        if other[0] < one[1]:
            shown = f"{show(list(one))} and {show(list(other))}"
            return example.bad("wrong_span", f"has entities that overlap: {shown}.")
    return _check_words(example)


def _check_words(example: Example) -> BadDocument | None:
    """Returns what is wrong if an entity has no word, or not all words of its own."""
    words, entities = words_of(example), example.values["entities"]
    before, one = 0, None
    for (first, last), entity in zip(
        find_words(words, entities), entities, strict=True
    ):
        if first >= last:
            problem = f"has the entity {show(list(entity))}, which has no word."
            return example.bad("no_word", problem)
        if one is not None and first < before:
            word = show(words.texts[first].strip())
            shown = f"{show(list(one))} and {show(list(entity))}"
            problem = f"has two entities in the word {word}: {shown}."
            return example.bad("shared_word", f"{problem} A word has one tag.")
        before, one = last, entity
    return None


def prepare_tagged(material: Material) -> list[Prepared]:
    """Returns the columns of tagged texts; without targets, of their tokens alone."""
    has_tags = TAGS in material.kinds or "entities" in material.kinds
    _check_targets(material, has_tags=has_tags)
    note = _widen_all(material) if "entities" in material.kinds else ""
    tags = _find_tags(material) if has_tags else None
    train = material.splits["train"]
    tokenizer = tokenizer_of_words(material, (words_of(e).texts for e in train))
    config, room = material.config, max(material.config.seq_len - 2, 1)

    def encode(examples: list[Example]) -> Encoded:
        found = [words_of(example).texts for example in examples]
        rows, words, classes, owners = [], [], [], []
        is_cut = np.zeros(len(examples), bool)
        for i, pieces in enumerate(encode_words(tokenizer, found)):
            is_cut[i] = any(len(ids) > room for ids in pieces)
            pieces = [ids[:room] for ids in pieces]
            own = None
            if tags is not None:
                own = np.array([tags.encode(tag) for tag in tags_of(examples[i])])
            for window in cut_windows([len(ids) for ids in pieces], room):
                row, answered = row_of(tokenizer, pieces, window, config)
                rows.append(row)
                words.append(answered)
                owners.append(i)
                if own is not None:
                    classes.append(np.where(answered < 0, NO_LABEL, own[answered]))
        shape = len(rows), config.seq_len
        arrays: dict[str, np.ndarray] = {}
        arrays["tokens"] = np.array(rows, stored_type(tokenizer)).reshape(shape)
        arrays[WORDS] = np.array(words, np.int32).reshape(shape)
        if tags is not None:
            arrays[TAGS] = np.array(classes, np.int16).reshape(shape)
        targets = np.count_nonzero(arrays[WORDS] >= 0, axis=1)
        counts = {"tokens": _count(arrays["tokens"], tokenizer.pad_id)}
        counts |= {"cut": int(is_cut.sum()), "words": int(targets.sum())}
        each = np.array(owners, np.int64)
        return Encoded(arrays, counts, each, targets, is_cut)

    more: dict = {}
    if tags is not None:
        field = Field((config.seq_len,), "int32", ("positions",), fill=NO_LABEL)
        more = dict(fields={TAGS: field}, codecs={TAGS: tags})
        more |= dict(sizes={"classes": len(tags)})
    known = [] if tags is None else [tags.fingerprint]
    return [
        prepare_tokens(tokenizer, config, encode, "tags", *known, note=note, **more)
    ]


def _widen_all(material: Material) -> str:
    """Gives entities the ends of their words; says how many had others, if any."""
    number = 0
    for split, examples in material.splits.items():
        widened = [widen_entities(example) for example in examples]
        for one, other in zip(examples, widened, strict=True):
            pair = one.values["entities"], other.values["entities"]
            number += sum(a != b for a, b in zip(*pair, strict=True))
        material.splits[split] = widened
    if not number:
        return ""
    return f"{number:,} entities do not end where words do; they count as whole words."


def _check_targets(material: Material, *, has_tags: bool) -> None:
    """Refuses examples to learn from that have no targets, and rows without room.

    Raises:
        ConfigError: If a row has no room for a word.
        DataError: Naming the first example without tags.
    """
    if material.config.seq_len < 3:
        raise ConfigError(
            f"config.data.seq_len={material.config.seq_len} has no room for a word "
            "between beginning and end. Set 3 or more."
        )
    for examples in material.splits.values():
        if examples and not has_tags:
            raise DataError(
                f"{examples[0].where} has no field tags, and no field entities. Set "
                'config.data.fields, such as {"tokens": "words", "tags": "ner"}.'
            )


def _find_tags(material: Material) -> Tags:
    """Returns the tags of a dataset; takes examples of unknown types out of `splits`.

    Raises:
        DataError: For a type that the train split lacks, unless bad ones are skipped.
    """
    train = material.splits["train"]
    if TAGS in material.codecs:
        tags: Tags = material.codecs[TAGS]  # type: ignore[assignment]
    elif TAGS in material.kinds:
        tags = count_tags(example.values[TAGS] for example in train)
    else:
        tags = count_tags(map(tags_of, train))
    for split, examples in material.splits.items():
        kept = []
        for example in examples:
            unknown = [tag for tag in tags_of(example) if tag not in tags]
            if not unknown:
                kept.append(example)
                continue
            problem = (
                f"has an entity of the type {show(unknown[0][2:])}, which the train "
                f"split lacks. {show(suggest(unknown[0][2:], tags.types))}"
            )
            material.refuse(example.bad("unknown_label", problem))
        material.splits[split] = kept
    return tags


def _count(rows: np.ndarray, pad_id: int) -> int:
    return int(np.count_nonzero(rows != pad_id))
