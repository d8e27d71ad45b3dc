"""The sizes of one model in all measures that a run reports."""

from collections.abc import Mapping

from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.inventory import Bits, Inventory
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import MEASURES, make_size_fn


def measure_sizes(
    objective: ObjectiveConfig,
    inventory: Inventory,
    bits: Bits,
    group_size: int,
    start_sizes: Mapping[str, float],
) -> dict[str, float]:
    """Returns the sizes of the open model, by measure.

    Args:
        objective: Says what is measured beside parameters, FLOPs and bytes.
        inventory: What size is counted over.
        bits: Bits of the units.
        group_size: Weights that share a step between levels.
        start_sizes: Sizes that weighted sums are parts of; empty for these very sizes.
    """
    opened, sizes = inventory.open_gates(), {}
    plain = (*MEASURES, LATENCY) if objective.counts_latency else MEASURES
    for measure in (*plain, *objective.measures):
        start = start_sizes or sizes
        size_fn = make_size_fn(measure, inventory, group_size, start)
        sizes[measure] = float(size_fn(opened, bits))
    return sizes
