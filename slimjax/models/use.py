"""How often a weight is used, which its FLOPs and its cache depend on."""

import dataclasses
from collections.abc import Callable

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Use:
    """What a weight does for one target.

    Attributes:
        rate: Positions that it multiplies; 0 for what is looked up, added or scaled
            with, such as a table of tokens at the input.
        keys: Keys that a query meets, in the mean, if the weight makes queries.
        kept: Positions that a cache keeps for each position of the text, if the weight
            makes keys or values that are cached.
    """

    rate: float = 0.0
    keys: float = 0.0
    kept: float = 0.0


UseFn = Callable[[Path, tuple[str, ...]], Use]
"""From a weight's path and the names of its axes to its use."""
