"""Fewer bits, all weights counted: ours and rounding to the nearest.

Run: python experiments/pretrained/bits.py --arm=ours --bits=4.5 --model=DIR
--novels=DIR --workdir=DIR
"""

import math
import time
from typing import Any

import numpy as np
from grids import GROUPS, round_rows
from study import Clock, Study, make_parser, open_study

from slimjax.compress.moments import HEAD, Moments
from slimjax.compress.offers import Choice
from slimjax.compress.refit import refit
from slimjax.compress.slimming import Cut, close, make_catalogue
from slimjax.compress.walk import source_of
from slimjax.nn.quantize import STATES, is_matrix
from slimjax.objective.inventory import Leaf, uniform_bits
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import make_size_fn
from slimjax.resize.config import ResizeConfig
from slimjax.resize.shrink import ANSWERS
from slimjax.trees import unflatten

ARMS = ("nearest", "nearest-min", "nearest-fitted", "nearest-min-fitted")
ARMS += ("ours-alike", "ours-sublayers", "ours")
KEEP = ResizeConfig(frozen=("*",))
"""No unit is removed."""


def round_to_nearest(study: Study, arm: str, bits: int, moments: Moments | None):
    """Returns the variables of the original, matrices rounded, and their bytes."""
    kind, num_bytes, weights = arm.removesuffix("-fitted"), 0.0, {}
    cost = bits + {"nearest": 16, "nearest-min": 32}[kind] / GROUPS[kind]
    for leaf in study.whole.inventory.leaves:
        weight = study.whole.weights[leaf.path]
        if not is_matrix(leaf.axes):
            weights[leaf.path], num_bytes = weight, num_bytes + 2 * weight.size
            continue
        is_table = leaf.axes[0] in ANSWERS
        reads = _inputs_of(leaf)
        rows = weight if is_table else weight.reshape(reads, -1).T
        rounded = round_rows(rows, bits, kind, _squares(leaf, moments))
        own = rounded if is_table else rounded.T
        weights[leaf.path] = np.ascontiguousarray(own).reshape(weight.shape)
        num_bytes += weight.size * cost / 8
    return dict(study.whole.variables, params=unflatten(weights)), num_bytes


def _inputs_of(leaf: Leaf) -> int:
    """Returns how many inputs a product has."""
    count = len(leaf.shape) - 1 if leaf.axes[-1] == "embed" else 1
    return math.prod(leaf.shape[:count])


def _squares(leaf: Leaf, moments: Moments | None) -> np.ndarray | None:
    if moments is None:
        return None
    is_table = leaf.axes[0] in ANSWERS
    source = HEAD if is_table else source_of(leaf.path, moments.inputs)
    return np.diag(moments.inputs[source])


def round_ours(study: Study, choice: Choice, quantize: QuantizeConfig):
    """Returns variables that are rounded by second order."""
    side = close(Cut(study.whole, choice, study.moments()), quantize)
    whole = study.walk, study.whole.variables
    refit(*whole, [side], study.refit_rows, report=Clock())
    return side.variables


def choose(study: Study, arm: str, bits: float) -> tuple[Choice, QuantizeConfig]:
    """Returns our choice of bits, all alike or at a price in nats."""
    whole = study.whole
    if arm == "ours-alike":
        own = int(bits)
        quantize = QuantizeConfig(bits=(own,), group_size=32, group_axis="input")
        all_bits, gates = uniform_bits(whole.inventory, own), {}
        gates = whole.inventory.open_gates()
        size_fn = make_size_fn("bytes", whole.inventory, 32)
        size = float(size_fn(gates, all_bits))
        return Choice(gates, all_bits, np.nan, 0.0, size), quantize
    quantize = QuantizeConfig(bits=STATES, group_size=64, group_axis="input")
    parts = whole, study.moments(), "bytes", KEEP, quantize
    catalogue = make_catalogue(*parts, is_finer=arm == "ours")
    choice = catalogue.choose(bits / 8 * whole.sizes()["params"])
    assert choice is not None, "the budget is below the least model"
    return choice, quantize


def main() -> None:
    """Measures one arm."""
    parser = make_parser(__doc__)
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--bits", type=float, required=True, help="in the mean: 4.5")
    flags = parser.parse_args()
    study, begun = open_study(flags), time.perf_counter()
    name = f"bits-{flags.arm}-{flags.bits}-{study.name}"
    if study.has(name):
        return
    entry: dict[str, Any] = dict(part="bits", arm=flags.arm, bits=flags.bits)
    if flags.arm.startswith("ours"):
        choice, quantize = choose(study, flags.arm, flags.bits)
        entry |= dict(bytes=choice.size, predicted=choice.nats)
        chosen = {".".join(p): int(b[0]) for p, b in choice.bits.items() if len(b)}
        entry |= dict(chosen=chosen, group_size=quantize.group_size)
        variables = round_ours(study, choice, quantize)
    else:
        moments = study.moments() if flags.arm.endswith("-fitted") else None
        parts = study, flags.arm, int(flags.bits), moments
        variables, entry["bytes"] = round_to_nearest(*parts)
    entry["seconds"] = time.perf_counter() - begun
    study.write(name, variables, **entry)


if __name__ == "__main__":
    main()
