"""A trace of some steps, to be opened with TensorBoard's or xprof's profiler."""

from pathlib import Path

import jax
from jaxtyping import PyTree


class Profiling:
    """Writes what the devices do in some steps of a run.

    Attributes:
        steps: Numbers of the steps, counted from 0.
        folder: Where the trace is written.
    """

    def __init__(self, steps: range, folder: Path):
        """Traces nothing yet."""
        self.steps, self.folder = steps, folder
        self._is_on = False

    def pass_boundary(self, step: int, state: PyTree) -> None:
        """Begins before the first of the steps, and ends before the one after them.

        Args:
            step: Number of the step to come.
            state: Arrays that are ready when all steps so far are.
        """
        if step in self.steps and not self._is_on:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self.folder)
            self._is_on = True
        elif step not in self.steps and self._is_on:
            jax.block_until_ready(state)
            self.end()

    def end(self) -> None:
        """Ends the trace, if there is one."""
        if self._is_on:
            jax.profiler.stop_trace()
            self._is_on = False
