"""What a seam measures: true losses, and what weights read, on one batch."""

from functools import cached_property

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.budget.units import Gates
from slimjax.nn.axes import to_host
from slimjax.nn.quantize import PRECISION
from slimjax.tasks.base import nats_per_target
from slimjax.train.blueprint import Blueprint
from slimjax.train.stage import Stage
from slimjax.trees import flatten, unflatten


class Probe:
    """Measures losses of one model on one batch, with some gates changed."""

    def __init__(self, stage: Stage, variables: PyTree, batch: PyTree):
        """Compiles nothing: the stage's evaluation is used.

        Weights are put where programs expect them once; gates and bits for each loss.
        """
        self.stage, self.variables, self.batch = stage, variables, batch
        self.num_calls, self.other_flops = 0, 0.0
        self._placed = stage.place(variables)
        kinds = ("gates", PRECISION)
        self._now = {kind: to_host(variables.get(kind, {})) for kind in kinds}

    def __call__(self, gates: Gates, bits: Gates = {}, fits: Gates = {}) -> float:  # noqa: B006
        """Returns mean nats per target; what is not named stays as it is.

        Args:
            gates: Gates by path.
            bits: Bits of units by bit key.
            fits: Fits of units by path of the weight.
        """
        wanted = {"gates": _merge(self._now["gates"], gates)}
        if bits:
            own = self._now[PRECISION]
            parts = _merge(own["bits"], bits), _merge(own["fit"], fits)
            wanted[PRECISION] = dict(zip(("bits", "fit"), parts, strict=True))
        is_new = lambda kind: not _are_equal(wanted[kind], self._now[kind])
        changed = {kind: wanted[kind] for kind in wanted if is_new(kind)}
        if not changed:
            return self._unchanged
        return self._measure({**self._placed, **self.stage.place(changed)})

    @cached_property
    def _unchanged(self) -> float:
        return self._measure(self._placed)

    def _measure(self, placed: PyTree) -> float:
        rows = self.stage.programs.training_outputs(placed, self.batch)
        self.num_calls += 1
        return float(nats_per_target(to_host(rows)))

    def moments(self) -> PyTree:
        """Returns second moments of what writers read, on the same batch."""
        params = {kind: self._placed[kind] for kind in ("params", "gates")}
        moments = self.stage.programs.moments(params, self.batch)
        moments = to_host(moments)
        self.other_flops += moments_flops(self.stage.blueprint, moments)
        return moments

    @property
    def flops(self) -> float:
        """FLOPs spent so far."""
        return self.num_calls * forward_flops(self.stage.blueprint) + self.other_flops


def _are_equal(one: PyTree, other: PyTree) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


def _merge(tree: PyTree, changes: Gates) -> PyTree:
    """Returns a tree of arrays in which some, by path, are others."""
    leaves = flatten(tree)
    leaves |= {p: np.asarray(x, leaves[p].dtype) for p, x in changes.items()}
    return unflatten(leaves)


def forward_flops(blueprint: Blueprint) -> float:
    """Returns the FLOPs of the forward pass of one batch."""
    return float(blueprint.targets_per_step * blueprint.sizes["flops"])


def moments_flops(blueprint: Blueprint, moments: PyTree) -> float:
    """Returns the FLOPs of second moments on a batch, the forward pass included."""
    products = sum(2 * moment.size for moment in jax.tree.leaves(moments))
    return forward_flops(blueprint) + float(blueprint.positions_per_step * products)
