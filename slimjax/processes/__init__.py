"""Several processes, one run: who there is, and how they wait for each other.

`cluster` finds out, before jax starts, which processes belong together; `world` joins
them, and holds every way in which one of them waits for the others: with a timeout, and
an error that names who is missing; `vote` lets a signal to one of them stop all at the
same step. With one process, nothing here costs or does anything.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.processes.cluster import Cluster as Cluster
    from slimjax.processes.cluster import find_cluster as find_cluster
    from slimjax.processes.vote import Vote as Vote
    from slimjax.processes.world import DAY as DAY
    from slimjax.processes.world import agree as agree
    from slimjax.processes.world import barrier as barrier
    from slimjax.processes.world import count as count
    from slimjax.processes.world import exchange as exchange
    from slimjax.processes.world import is_first as is_first
    from slimjax.processes.world import is_shared as is_shared
    from slimjax.processes.world import joined as joined
    from slimjax.processes.world import rank as rank
    from slimjax.processes.world import share as share
    from slimjax.processes.world import together as together
    from slimjax.processes.world import wait_for as wait_for

__getattr__ = exports(
    __name__,
    {
        "DAY": "world",
        "Cluster": "cluster",
        "Vote": "vote",
        "agree": "world",
        "barrier": "world",
        "count": "world",
        "exchange": "world",
        "find_cluster": "cluster",
        "is_first": "world",
        "is_shared": "world",
        "joined": "world",
        "rank": "world",
        "share": "world",
        "together": "world",
        "wait_for": "world",
    },
)
