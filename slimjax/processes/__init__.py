"""Several processes, one run: how they find each other and wait for each other.

`cluster` finds out, before jax starts, which processes belong together; `joining` joins
them, and lets them part. `meeting` holds every way in which one of them waits for the
others, through `world`: with a timeout, and an error that names the late ones. `vote`
lets a signal to one of them stop all at the same step. With one process, nothing here
costs or does anything.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.processes.cluster import Cluster as Cluster
    from slimjax.processes.cluster import find_cluster as find_cluster
    from slimjax.processes.joining import is_shared as is_shared
    from slimjax.processes.joining import joined as joined
    from slimjax.processes.meeting import DAY as DAY
    from slimjax.processes.meeting import agree as agree
    from slimjax.processes.meeting import barrier as barrier
    from slimjax.processes.meeting import exchange as exchange
    from slimjax.processes.meeting import share as share
    from slimjax.processes.meeting import together as together
    from slimjax.processes.meeting import wait_for as wait_for
    from slimjax.processes.vote import Vote as Vote
    from slimjax.processes.world import count as count
    from slimjax.processes.world import is_first as is_first
    from slimjax.processes.world import rank as rank

__getattr__ = exports(
    __name__,
    {
        "DAY": "meeting",
        "Cluster": "cluster",
        "Vote": "vote",
        "agree": "meeting",
        "barrier": "meeting",
        "count": "world",
        "exchange": "meeting",
        "find_cluster": "cluster",
        "is_first": "world",
        "is_shared": "joining",
        "joined": "joining",
        "rank": "world",
        "share": "meeting",
        "together": "meeting",
        "wait_for": "meeting",
    },
)
