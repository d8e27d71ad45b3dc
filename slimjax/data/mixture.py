"""Rows of several domains, drawn in shares that are not those of their rows.

The share of domain d of weight w is ``w(d) ** (1 / T) / sum``. Each domain is an
endless stream of its rows, every row once in an epoch of the domain, in another order
each epoch. An epoch of all has as many rows as there are: after e of them domain d has
given floor(e * R * share(d)) rows, and the domains of an epoch come in an order drawn
from (seed, epoch). So the rows of a step are a function of (config, seed, step). Shares
are rational numbers, so that the counts are the same on every machine.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Int, Int64

from slimjax.data.batches import rows_at
from slimjax.data.config import DataConfig
from slimjax.data.domain_config import name_source
from slimjax.errors import ConfigError, DataError

MOST_PARTS = 10**9
"""Largest denominator of a power of a weight."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """The rows of the training split, by domain.

    Attributes:
        rows: Numbers of the rows of each domain.
        shares: The part of the rows of training that are of each; their sum is 1.
    """

    rows: tuple[Int64[np.ndarray, " _"], ...]
    shares: tuple[Fraction, ...]

    @property
    def quotas(self) -> tuple[Fraction, ...]:
        """Rows that each domain gives in an epoch."""
        total = sum(len(own) for own in self.rows)
        return tuple(total * share for share in self.shares)

    def choose(self, step: int, batch_size: int, seed: int) -> Int64[np.ndarray, " B"]:
        """Returns the rows of a step.

        Args:
            step: Number of the step, from 0.
            batch_size: Rows a step, B.
            seed: Any whole number.
        """
        place, end = int(step) * int(batch_size), (int(step) + 1) * int(batch_size)
        parts, epoch = [], _find_epoch(place, self.quotas)
        while place < end:
            begin, following = (
                _rows_before(e, self.quotas) for e in (epoch, epoch + 1)
            )
            stop = min(end, following)
            parts.append(self._choose(epoch, slice(place - begin, stop - begin), seed))
            place, epoch = stop, epoch + 1
        return np.concatenate(parts)

    def _choose(self, epoch: int, places: slice, seed: int) -> Int64[np.ndarray, " _"]:
        """Returns the rows at places of an epoch."""
        order, ranks = _order(self.quotas, seed, epoch)
        chosen = np.empty(places.stop - places.start, np.int64)
        for domain, own in enumerate(self.rows):
            is_own = order[places] == domain
            before = math.floor(epoch * self.quotas[domain])
            numbers = before + ranks[places][is_own]
            if len(numbers):
                chosen[is_own] = own[rows_at(numbers, len(own), seed, domain)]
        return chosen


def make_mixture(
    config: DataConfig, names: Sequence[str], domain_of: Int[np.ndarray, " R"]
) -> Mixture | None:
    """Returns how training draws rows; None if each comes once in an epoch.

    Args:
        config: The settings.
        names: Names of the domains, in the order of their numbers.
        domain_of: Number of the domain of each row of the training split.

    Raises:
        ConfigError: If rows are to be cut to the lengths of buckets.
        DataError: If a domain that has a source has no row.
    """
    rows = {name: np.flatnonzero(domain_of == i) for i, name in enumerate(names)}
    for name in config.domains:
        if not len(rows[name]):
            raise DataError(f"{name_source(name)} has no example in the train split.")
    if not config.domains or not config.is_mixed:
        return None
    if config.buckets:
        raise ConfigError(
            f"config.data.buckets={list(config.buckets)} draws rows by length, and "
            "config.data.domain_weights or config.data.temperature by domain. Leave "
            "one of them out."
        )
    weights = {name: float(len(rows[name])) for name in config.domains}
    shares = find_shares(config.domain_weights or weights, config.temperature)
    used = [name for name in names if shares.get(name)]
    return Mixture(
        tuple(rows[name] for name in used), tuple(shares[name] for name in used)
    )


def find_shares(
    weights: Mapping[str, float], temperature: float = 1.0
) -> dict[str, Fraction]:
    """Returns the share of each domain, ``w ** (1 / T)`` as a part of the sum.

    Examples:
        >>> find_shares({"a": 3, "b": 1})
        {'a': Fraction(3, 4), 'b': Fraction(1, 4)}
        >>> find_shares({"a": 9, "b": 1}, temperature=2)
        {'a': Fraction(3, 4), 'b': Fraction(1, 4)}
    """
    most = max(weights.values())

    def power(weight: float) -> Fraction:
        if temperature == 1:
            return Fraction(str(weight))
        found = (weight / most) ** (1 / temperature)
        return Fraction(found).limit_denominator(MOST_PARTS)

    exact = {name: power(weight) for name, weight in weights.items()}
    total = sum(exact.values())
    return {name: power / total for name, power in exact.items()}


def _rows_before(epoch: int, quotas: tuple[Fraction, ...]) -> int:
    """Returns the rows of all epochs before one."""
    return sum(math.floor(epoch * quota) for quota in quotas)


def _find_epoch(place: int, quotas: tuple[Fraction, ...]) -> int:
    epoch = place // int(sum(quotas))  # No earlier one has the place.
    while _rows_before(epoch + 1, quotas) <= place:
        epoch += 1
    return epoch


@lru_cache(maxsize=4)
def _order(
    quotas: tuple[Fraction, ...], seed: int, epoch: int
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Returns the domain at each place of an epoch, and its rank among its own.

    The arrays are shared, hence not to be written to.
    """
    own = [math.floor((epoch + 1) * q) - math.floor(epoch * q) for q in quotas]
    generator = np.random.default_rng([seed % 2**64, epoch, len(quotas)])
    order = generator.permutation(np.repeat(np.arange(len(quotas)), own))
    ranks = np.empty(len(order), np.int64)
    for domain, number in enumerate(own):
        ranks[order == domain] = np.arange(number)
    for array in (order, ranks):
        array.setflags(write=False)
    return order, ranks
