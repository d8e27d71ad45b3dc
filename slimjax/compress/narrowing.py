"""The original of a budget: without the rows of the vocabulary that the budget takes.

How many rows go is decided together with all else, by one price. What is made of the
rest then has this model as its original, and reads texts as its tokenizer encodes them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.compress.curves import Curve
from slimjax.compress.offers import Catalogue
from slimjax.compress.preparing import Work, choose_within, size_of
from slimjax.compress.row_cut import (
    cut_moments,
    cut_rows,
    reencode_calibration,
    reencode_text,
)
from slimjax.compress.rows import Text
from slimjax.compress.slimming import Material
from slimjax.compress.vocabulary import Vocabulary
from slimjax.data.reencoding import Reencoder
from slimjax.data.vocabulary import cut_tokenizer
from slimjax.objective.inventory import VOCAB
from slimjax.objective.size import make_size_fn


def narrow(work: Work, budget: str) -> Work:
    """Returns the work of one budget, whose original lacks the rows that go.

    Args:
        work: That of all budgets.
        budget: As it was asked for.
    """
    if (vocabulary := work.vocabulary) is None:
        return work
    choice = choose_within(work.catalogue, size_of(work, budget), budget)
    kept = vocabulary.kept(choice.gates)
    tokenizer = cut_tokenizer(vocabulary.tokenizer, kept)
    encoder = Reencoder(vocabulary.tokenizer, tokenizer, kept)
    whole = cut_rows(work.whole, kept)
    most = whole.model.main.num_positions
    texts = {n: reencode_text(t, encoder, most) for n, t in work.texts.items()}
    model = dataclasses.replace(
        work.settings.model,
        config=whole.model,
        params=whole.variables,
        codecs={**work.settings.model.codecs, "tokens": tokenizer},
        _frozen={},
    )
    settings = dataclasses.replace(work.settings, model=model)
    return dataclasses.replace(
        work,
        settings=settings,
        whole=whole,
        moments=cut_moments(work.moments, kept),
        catalogue=_without_rows(work.catalogue, whole, work),
        rows=reencode_calibration(work.rows, encoder),
        texts=texts,
        vocabulary=None,
        rows_gone=_describe(vocabulary, len(kept), work.texts, texts),
    )


def _without_rows(catalogue: Catalogue, whole: Material, work: Work) -> Catalogue:
    """Returns the same offers, but for the rows, which are gone."""
    curves: list[Curve] = [c for c in catalogue.curves if c.gate != (VOCAB,)]
    group_size = work.settings.quantize.group_size
    size_fn = make_size_fn(work.request.size, whole.inventory, group_size)
    return Catalogue(
        whole.inventory, curves, size_fn, catalogue.states, catalogue.bit_nats
    )


def _describe(
    vocabulary: Vocabulary,
    num_kept: int,
    before: Mapping[str, Text],
    after: Mapping[str, Text],
) -> dict[str, Any]:
    """Returns what a report says of rows that are gone."""
    num_rows = vocabulary.tokenizer.vocab_size
    count = lambda text: text.rows.num_targets
    return {
        "rows_start": num_rows,
        "rows": num_kept,
        "nats_per_token": vocabulary.nats_per_token,
        "predicted_loss_change": vocabulary.nats(num_rows - num_kept),
        "tokens": {n: count(after[n]) / count(before[n]) for n in before},
    }
