"""Freeing what finished runs leave behind in the process that goes on with others."""

import gc

import jax

RUNS_BETWEEN = 10
"""After how many runs compiled programs are dropped.

Those of shapes that are gone are of no more use, but among the small ones are many that
the next run needs again.
"""


class Clearing:
    """Counts the runs of a process."""

    def __init__(self):
        """Has counted none."""
        self._num_runs = 0

    def __call__(self) -> None:
        """Frees what can be freed after a run."""
        self._num_runs += 1
        if self._num_runs % RUNS_BETWEEN == 0:
            jax.clear_caches()
        gc.collect()
