"""The original of a budget: without the rows of the vocabulary that the budget takes.

How many rows go is decided together with all else, by one price. What is made of the
rest then has this model as its original, and reads texts as its tokenizer encodes them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.compress.curves import Curve
from slimjax.compress.preparing import Work, choose_within, limits_of, weigh_again
from slimjax.compress.row_cut import (
    cut_moments,
    cut_rows,
    reencode_calibration,
    reencode_text,
)
from slimjax.compress.rows import Text
from slimjax.compress.settings import Settings
from slimjax.compress.several import Catalogues
from slimjax.compress.slimming import Material
from slimjax.compress.vocabulary import Vocabulary
from slimjax.data.reencoding import Reencoder
from slimjax.data.vocabulary import cut_tokenizer
from slimjax.objective.inventory import VOCAB


def narrow(work: Work, budget: str) -> Work:
    """Returns the work of one budget, whose original lacks the rows that go.

    Args:
        work: That of all budgets.
        budget: As it was asked for.
    """
    if (vocabulary := work.vocabulary) is None:
        return work
    choice = choose_within(work.catalogues, limits_of(work, budget), budget)
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
        catalogues=_without_rows(work.catalogues, whole, work.settings),
        rows=reencode_calibration(work.rows, encoder),
        texts=texts,
        vocabulary=None,
        rows_gone=_describe(vocabulary, len(kept), work.texts, texts),
    )


def _without_rows(
    catalogues: Catalogues, whole: Material, settings: Settings
) -> Catalogues:
    """Returns the same offers, but for the rows, which are gone."""
    first = catalogues.first
    curves: list[Curve] = [c for c in first.curves if c.gate != (VOCAB,)]
    weigh = lambda measure: weigh_again(
        first, whole.inventory, curves, measure, settings
    )
    return Catalogues({measure: weigh(measure) for measure in catalogues.by_measure})


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
