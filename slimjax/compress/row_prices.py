"""What each row of the vocabulary less costs: tokens that a text then has more.

Of a text, a row v is expected f_v times a target. Its count alone would say that rows
that were not seen are free. So it is mixed with what the model itself expects, q_v,

    f_v = (1 - s) n_v / N + s q_v,    s = u / sum of q over rows not seen

where u is how often a part of the text has a row that no other part has: s gives rows
that were not seen the chance that another text has one of them. Parts are long, since
one book has names that others do not have; rows that were seen once tell too little.

A row that goes is spelled with its parts, which then are met that much more often. Rows
go one by one, the one first that makes a text the fewest tokens longer, and only once
nothing that stays is made of it.

References:
    Ney, Essen and Kneser, "On the estimation of 'small' probabilities by
    leaving-one-out", 1995, section 2 (chance of all that was not seen).
    MacKay and Peto, "A hierarchical Dirichlet language model", 1995, section 3 (counts
    mixed with a prior).
"""

import heapq
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from slimjax.compress.curves import Curve
from slimjax.data.vocabulary import Entries
from slimjax.objective.inventory import VOCAB

POINTS = 128
"""Points of the curve of rows."""

MOST_OF_MODEL = 0.5
"""Largest part of what the model expects in what is expected."""


class RowOrder(NamedTuple):
    """Rows in the order in which they go.

    Attributes:
        ids: The rows that may go, the first to go first.
        tokens: Tokens that a text has more once so many of them are gone, a target;
            0 for none.
    """

    ids: Int[np.ndarray, " N"]
    tokens: Float[np.ndarray, " N+1"]

    def kept(self, num_gone: int, num_rows: int) -> Int[np.ndarray, " K"]:
        """Returns the rows that stay once so many are gone, of `num_rows`."""
        stays = np.ones(num_rows, bool)
        stays[self.ids[:num_gone]] = False
        return np.flatnonzero(stays)


def expect_rows(
    counts: Int[np.ndarray, "P V"], chances: Float[np.ndarray, " V"]
) -> Float[np.ndarray, " V"]:
    """Returns how often each row is expected, a target.

    Args:
        counts: How often each one was seen, in each part of a text.
        chances: How often the model expects it, a target.

    Examples:
        >>> counts = np.array([[4, 1, 0], [3, 0, 0]])
        >>> expect_rows(counts, np.array([0.5, 0.25, 0.25])).round(3)
        array([0.688, 0.188, 0.125])
    """
    sums = counts.sum(0)
    total, unseen = max(int(sums.sum()), 1), float(chances[sums == 0].sum())
    alone = float(sums[(counts > 0).sum(0) == 1].sum()) / total
    share = min(alone / unseen, MOST_OF_MODEL) if unseen else 0.0
    return (1 - share) * sums / total + share * chances


def order_rows(entries: Entries, expected: Float[np.ndarray, " V"]) -> RowOrder:
    """Returns the rows that may go, the cheapest one first.

    Args:
        entries: Which rows may go, and what spells them.
        expected: How often each is expected, a target.
    """
    expected, used = expected.copy(), np.zeros(len(expected), int)
    for parts in entries.parts:
        np.add.at(used, [*parts], 1)

    def entry(row: int) -> tuple[float, int]:
        more = max(len(entries.parts[row]) - 1, 0)
        return more * float(expected[row]), -row  # The rarest merges come last.

    free = np.flatnonzero(entries.may_go & (used == 0))
    heap, ids, tokens = [entry(int(row)) for row in free], [], [0.0]
    heapq.heapify(heap)
    while heap:
        more, row = heapq.heappop(heap)
        ids.append(-row)
        tokens.append(tokens[-1] + more)
        for part in entries.parts[-row]:
            expected[part] += expected[-row]
            used[part] -= 1
            if used[part] == 0 and entries.may_go[part]:
                heapq.heappush(heap, entry(part))
    return RowOrder(np.array(ids, int), np.array(tokens))


def make_rows_curve(
    order: RowOrder, nats_per_token: float, chances: Float[np.ndarray, " V"]
) -> Curve:
    """Returns the curve of the rows, as those of sublayers.

    Args:
        order: The order in which they go.
        nats_per_token: What a token more costs.
        chances: How often the model expects each row: what rounding costs is divided
            among the rows like that.
    """
    counts = np.linspace(0, len(order.ids), min(POINTS, len(order.ids) + 1))
    counts = np.unique(counts.round().astype(int))
    gone = np.cumsum([0.0, *chances[order.ids]]) / max(chances.sum(), 1e-30)
    return Curve(
        gate=(VOCAB,),
        closed=tuple(order.ids[:count] for count in counts),
        nats=nats_per_token * order.tokens[counts],
        is_whole=np.zeros(len(counts), bool),
        left=1 - gone[counts],
    )
