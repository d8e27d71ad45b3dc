"""Prices of the rows of the vocabulary, in nats a target.

Row by row it is known how much longer a text gets without it (`row_prices`). What one
more token costs is measured, once: some calibration rows are encoded without the rows
that go first, until they are a few per cent longer, and read by the original, whose
probabilities are scaled to 1 over the rows that are left. So the price has in it what
the model gains where rows that are gone took a part of the probability, too.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from slimjax.compress.curves import Curve
from slimjax.compress.errors import measure
from slimjax.compress.moments import HEAD, Moments
from slimjax.compress.row_cut import cut_rows, reencode_text
from slimjax.compress.row_prices import (
    RowOrder,
    expect_rows,
    make_rows_curve,
    order_rows,
)
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings
from slimjax.compress.slimming import Material
from slimjax.compress.texts import LANGUAGE_MODEL, load_data
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.reencoding import Reencoder
from slimjax.data.vocabulary import Entries, cut_tokenizer, list_entries
from slimjax.errors import ConfigError
from slimjax.objective.inventory import VOCAB

LONGER = 0.03
"""Part by which texts get longer in the measurement."""

NUM_MEASURED = 12
"""Calibration rows of the measurement."""

LEAST, MOST = 0.25, 4.0
"""Bounds of the nats of a token more, in those that a target costs anyhow."""

NUM_COUNTED = 1 << 25
"""Most tokens of the training split that are counted."""

NUM_PARTS = 8
"""Parts of the training split, one after the other, that are counted apart."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What may be made of a vocabulary.

    Attributes:
        tokenizer: The original's.
        order: The rows that may go, in order.
        chances: How often the model expects each row, a target.
        nats_per_token: What a token more costs.
    """

    tokenizer: JsonTokenizer
    order: RowOrder
    chances: np.ndarray
    nats_per_token: float

    @property
    def curve(self) -> Curve:
        """Nats over rows, to be compared with the curves of sublayers."""
        return make_rows_curve(self.order, self.nats_per_token, self.chances)

    def kept(self, gates: Mapping[tuple[str, ...], np.ndarray]) -> np.ndarray:
        """Returns the rows that a choice keeps."""
        return np.flatnonzero(gates[(VOCAB,)])

    def nats(self, num_gone: int) -> float:
        """Returns what it costs that so many rows are gone."""
        return self.nats_per_token * float(self.order.tokens[num_gone])


def check_vocabulary(settings: Settings) -> tuple[JsonTokenizer, Entries]:
    """Returns the tokenizer of a model whose rows may go, and what may go of it.

    Raises:
        ConfigError: If the model is none whose vocabulary can be made smaller.
        DataError: If its tokenizer is of another kind.
    """
    flag, tower = "--vocabulary=price", settings.model.config.main
    if settings.run.task != LANGUAGE_MODEL:
        raise ConfigError(
            f"{flag} takes language models (task {LANGUAGE_MODEL}), not the task "
            f"{settings.run.task}. Leave it out."
        )
    if tower.stem != "tokens":
        raise ConfigError(f"{flag} takes models that read tokens, not {tower.stem}.")
    tokenizer = settings.model.tokenizer
    if not isinstance(tokenizer, JsonTokenizer):
        raise ConfigError(
            f"{flag} needs a tokenizer.json; the tokenizer of this model is "
            f"{type(tokenizer).__name__}. Leave it out."
        )
    return tokenizer, list_entries(tokenizer)


def price_vocabulary(
    settings: Settings, whole: Material, moments: Moments, rows: Rows
) -> Vocabulary:
    """Returns the prices of all rows.

    Args:
        settings: Know the text, which is counted.
        whole: The original.
        moments: Those of it: of the head, how often each row is expected.
        rows: Calibration.
    """
    tokenizer, order, chances = rank_rows(settings, moments)
    price = measure_token(whole, tokenizer, order, rows)
    return Vocabulary(tokenizer, order, chances, price)


def rank_rows(
    settings: Settings, moments: Moments
) -> tuple[JsonTokenizer, RowOrder, Float[np.ndarray, " V"]]:
    """Returns the tokenizer, the order in which its rows go, and their chances.

    Args:
        settings: Know the text, which is counted.
        moments: Those of the original: of the head, how often each row is expected.

    Raises:
        ConfigError: If the model is none whose vocabulary can be made smaller.
        DataError: If its tokenizer is of another kind.
    """
    tokenizer, entries = check_vocabulary(settings)
    chances = np.asarray(moments.slopes[HEAD], np.float64)  # p (1 - p), for p.
    chances = np.where([i in tokenizer.names for i in range(len(chances))], chances, 0)
    counts = count_tokens(settings, len(chances))
    return tokenizer, order_rows(entries, expect_rows(counts, chances)), chances


def count_tokens(settings: Settings, num_rows: int) -> Int[np.ndarray, "P V"]:
    """Returns how often each token is in each part of the training split."""
    data = load_data(settings.run, settings.model.codecs)
    total, most = data.num_rows("train"), NUM_COUNTED // settings.run.data.seq_len
    chosen = np.linspace(0, total - 1, min(total, max(most, 1))).round().astype(int)
    counts = np.zeros((NUM_PARTS, num_rows), np.int64)
    for own, numbers in zip(counts, np.array_split(chosen, NUM_PARTS), strict=True):
        for part in np.array_split(numbers, -(-len(numbers) // 1024)):
            tokens = data.rows("train", part)["tokens"]
            own += np.bincount(tokens.reshape(-1), minlength=num_rows)[:num_rows]
    return counts


def measure_token(
    whole: Material,
    tokenizer: JsonTokenizer,
    order: RowOrder,
    rows: Rows,
) -> float:
    """Returns the nats that a token more costs, as measured.

    Args:
        whole: The original.
        tokenizer: Its tokenizer.
        order: The order in which rows go.
        rows: Calibration.
    """
    num_gone = int(np.searchsorted(order.tokens[1:], LONGER))
    few = rows.at(rows.spread(NUM_MEASURED))
    kept = order.kept(num_gone, tokenizer.vocab_size)
    encoder = Reencoder(tokenizer, cut_tokenizer(tokenizer, kept), kept)
    text = reencode_text(Text(few), encoder, whole.model.main.num_positions)
    small = cut_rows(whole, kept)
    before = measure(whole.model, whole.variables, few)
    after = measure(small.model, small.variables, text.rows)
    usual, more = before.nats_per_target, after.num_targets - before.num_targets
    if more <= 0:
        return usual
    price = (after.nats - before.nats) / more
    return float(np.clip(price, LEAST * usual, MOST * usual))
