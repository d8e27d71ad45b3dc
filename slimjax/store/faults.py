"""Points at which a test may kill the process, as a power cut would.

They do nothing unless the environment variable ``SLIMJAX_FAULT`` names one of them,
as ``NAME@COUNT``: the process then kills itself at the COUNT-th passage of that point.
"""

import collections
import os
import signal

VARIABLE = "SLIMJAX_FAULT"
_passages: collections.Counter[str] = collections.Counter()


def fault_point(name: str) -> None:
    """Kills the process here, if the environment asks for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    _passages[name] += 1
    if wanted == f"{name}@{_passages[name]}":
        os.kill(os.getpid(), signal.SIGKILL)
