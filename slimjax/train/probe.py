"""What a seam measures: true losses, and what weights read, on one batch."""

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import to_host
from slimjax.nn.quantize import PRECISION
from slimjax.objective.units import Gates
from slimjax.train.stage import Stage
from slimjax.trees import flatten, unflatten


class Probe:
    """Measures losses of one model on one batch, with some gates changed."""

    def __init__(self, stage: Stage, variables: PyTree, batch: PyTree):
        """Compiles nothing: the stage's evaluation is used."""
        self.stage, self.variables, self.batch = stage, variables, batch
        self.num_calls, self.other_flops = 0, 0.0

    def __call__(self, gates: Gates, bits: Gates = {}, fits: Gates = {}) -> float:  # noqa: B006
        """Returns mean nats a target; what is not named stays as it is.

        Args:
            gates: Gates by path.
            bits: Bits of units by bit key.
            fits: Fits of units by path of the weight.
        """
        variables = {**self.variables, "gates": _merge(self.variables["gates"], gates)}
        if bits:
            precision = self.variables[PRECISION]
            variables[PRECISION] = {
                "bits": _merge(precision["bits"], bits),
                "fit": _merge(precision["fit"], fits),
            }
        sums = self.stage.sums(self.stage.place(variables), self.batch)
        self.num_calls += 1
        return float(sums["nats_sum"]) / float(sums["num_tokens"])

    def moments(self) -> PyTree:
        """Returns second moments of what writers read, on the same batch."""
        params = {kind: self.variables[kind] for kind in ("params", "gates")}
        moments = self.stage.moments(self.stage.place(params), self.batch)
        moments = to_host(moments)
        self.other_flops += moments_flops(self.stage, moments, self.batch)
        return moments

    @property
    def flops(self) -> float:
        """FLOPs spent so far."""
        tokens = self.batch["tokens"].size
        return self.num_calls * tokens * self.stage.sizes["flops"] + self.other_flops


def _merge(tree: PyTree, changes: Gates) -> PyTree:
    """Returns a tree of arrays in which some, by path, are others."""
    leaves = flatten(tree)
    leaves |= {p: np.asarray(x, leaves[p].dtype) for p, x in changes.items()}
    return unflatten(leaves)


def moments_flops(stage: Stage, moments: PyTree, batch: PyTree) -> float:
    """Returns the FLOPs of second moments on a batch, the forward pass included."""
    products = sum(2 * moment.size for moment in jax.tree.leaves(moments))
    return float(batch["tokens"].size * (stage.sizes["flops"] + products))
