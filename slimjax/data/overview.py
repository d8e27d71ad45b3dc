"""What a person checks first of labelled data: counts by split, copies, lengths."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from slimjax.data.census import CUT, NAMED, count_classes
from slimjax.data.chats import read_past
from slimjax.data.dataset import Dataset, spread_rows
from slimjax.data.outline import Codec
from slimjax.data.tokenizer import Tokenizer
from slimjax.text.examples import Example
from slimjax.text.splits import SPLITS

MOST_MEASURED = 10_000
"""Examples of the train split whose lengths are counted."""
TEXTS = ("text", "tokens", "sentences", "messages")
"""Kinds of texts that are read in one row."""
PASSAGE = "passage"
"""Kind of a text that is a row of its own."""
COUNTED = ("repeated", "contradictions", "duplicates", "copies_left_out")


def describe_examples(data: Dataset) -> dict[str, Any]:
    """Returns what a labelled dataset holds, by names for people; nothing of others.

    Its files are read once more.
    """
    if data.read_examples is None:
        return {}
    splits, kinds = data.read_examples(), data.kinds
    described: dict[str, Any] = {f"examples_{s}": len(splits[s]) for s in SPLITS}
    for name, kind in kinds.items():
        described |= _describe_answers(splits, name, kind)
    described |= {name: data.counts[name] for name in COUNTED if name in data.counts}
    described |= _describe_lengths(data, splits["train"])
    return described | {"notes": list(data.notes)}


def _describe_answers(
    splits: Mapping[str, Sequence[Example]], name: str, kind: str
) -> dict[str, Any]:
    """Returns the classes of each split, or the mean and the range of its values.

    Of answers in a text: how many questions have none.
    """
    if kind in NAMED:
        classes = {s: dict(count_classes(splits[s], name)) for s in SPLITS}
        of_all = sorted(set().union(*classes.values()))
        missing = {s: [n for n in of_all if n not in classes[s]] for s in SPLITS}
        return {f"{name}_{split}": found for split, found in classes.items()} | {
            f"{name}_missing_in_{split}": names
            for split, names in missing.items()
            if names and splits[split]
        }
    if kind == "answers":
        empty = {s: sum(not e.values[name] for e in splits[s]) for s in SPLITS}
        return _describe_shares(
            f"no_{name}", empty, {s: len(splits[s]) for s in SPLITS}
        )
    if kind != "value":
        return {}
    described = {}
    for split in SPLITS:
        values = np.array([example.values[name] for example in splits[split]])
        if len(values):
            ends = {"mean": values.mean(), "least": values.min(), "most": values.max()}
            described[f"{name}_{split}"] = {k: float(v) for k, v in ends.items()}
    return described


def _describe_lengths(data: Dataset, train: Sequence[Example]) -> dict[str, Any]:
    """Returns quantiles of the tokens of an example, and the share that is cut."""
    described: dict[str, Any] = {}
    if train and "tokens" in data.codecs and any(map(_is_text, data.kinds.values())):
        numbers = spread_rows(len(train), MOST_MEASURED, seed=0)
        lengths = count_tokens([train[i] for i in numbers], data.kinds, data.codecs)
        found = np.quantile(lengths, [0.5, 0.9, 0.99, 1.0]).round().astype(int)
        names = ("median", "90_percent", "99_percent", "longest")
        described |= {
            f"tokens_{name}": int(length)
            for name, length in zip(names, found, strict=True)
        }
    for what in CUT:
        own, totals = data.counts.get(what, {}), data.counts["examples"]
        described |= _describe_shares(what, own, totals)
    return described


def _describe_shares(
    name: str, counts: Mapping[str, int], totals: Mapping[str, int]
) -> dict[str, str]:
    """Returns counts by split, with their share of all examples."""
    return {
        f"{name}_{split}": f"{number} ({number / totals[split]:.1%})"
        for split, number in counts.items()
        if totals[split]
    }


def count_tokens(
    examples: Sequence[Example], kinds: Mapping[str, str], codecs: Mapping[str, Codec]
) -> np.ndarray:
    """Returns the tokens of what a model reads of each example, ``[N]``.

    A text with a tokenizer of its own is counted with that. Of two texts that are rows
    of their own, the longer one counts.

    Args:
        examples: The examples, N of them.
        kinds: Names and kinds of their values.
        codecs: Tokenizers: ``tokens``, and maybe one by the name of a value.
    """
    rows = np.zeros((2, len(examples)), np.int64)
    for name, kind in kinds.items():
        if not _is_text(kind):
            continue
        texts, owners = [], []
        for i, example in enumerate(examples):
            found = _texts_of(example, name, kind)
            texts += found
            owners += [i] * len(found)
        tokenizer = cast(Tokenizer, codecs.get(name, codecs["tokens"]))
        sizes = [len(ids) for ids in tokenizer.encode_batch(texts)]
        np.add.at(rows[int(kind == PASSAGE)], np.array(owners, np.int64), sizes)
    return rows.max(0)


def _is_text(kind: str) -> bool:
    return kind in (*TEXTS, PASSAGE)


def _texts_of(example: Example, name: str, kind: str) -> list[str]:
    """Returns the texts that a model reads of a value."""
    if kind == "messages":
        return [read_past(example)]
    value = example.values.get(name, ())
    return [value] if isinstance(value, str) else [*value]
