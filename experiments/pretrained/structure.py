"""Fewer parameters: ours and peers, each with and without the same least squares.

Run: python experiments/pretrained/structure.py --arm=ours --model=DIR --novels=DIR
--workdir=DIR
"""

import dataclasses
import time

import numpy as np
from flax import linen as nn
from peers import (
    close_alike,
    close_layers,
    close_least,
    flap,
    influences,
    magnitudes,
    standardise,
    wanda,
)
from study import Clock, Study, make_parser, open_study

from slimjax.compress.moments import Moments
from slimjax.compress.offers import Choice
from slimjax.compress.pipeline import PLAIN
from slimjax.compress.refit import refit
from slimjax.compress.side import Side
from slimjax.compress.slimming import (
    Cut,
    Material,
    close,
    make_catalogue,
    make_material,
)
from slimjax.compress.walk import WRITERS, Walk
from slimjax.objective.inventory import uniform_bits
from slimjax.objective.size import make_size_fn
from slimjax.resize.config import ResizeConfig
from slimjax.trees import flatten, unflatten

ARMS = (
    "ours",
    "magnitude",
    "magnitude-alike",
    "wanda",
    "wanda-alike",
    "flap",
    "layers",
)


def choose(study: Study, arm: str, parts: list[float], multiple: int) -> list[Choice]:
    """Returns what an arm keeps of the model at each part of its parameters."""
    whole = study.whole
    budgets = [part * whole.sizes()["params"] for part in parts]
    if arm == "ours":
        resize = ResizeConfig(multiple=multiple)
        catalogue = make_catalogue(whole, study.moments(), "params", resize, PLAIN)
        found = [catalogue.choose(budget) for budget in budgets]
        return [choice for choice in found if choice is not None]
    if arm == "layers":
        sample = study.rows.at(study.rows.spread(study.flags.slope_rows))
        order = np.argsort(influences(study.walk, whole.variables, sample))
        gates = [close_layers(whole, order, budget) for budget in budgets]
    else:
        moments = Moments() if arm.startswith("magnitude") else study.moments()
        score = {"magnitude": magnitudes, "wanda": wanda, "flap": flap}
        scores = score[arm.split("-")[0]](whole, moments)
        if arm.endswith("alike"):
            gates = [close_alike(whole, scores, budget) for budget in budgets]
        else:
            scores = standardise(scores)
            gates = [close_least(whole, scores, budget) for budget in budgets]
    return [make_choice(whole, own) for own in gates]


def make_choice(whole: Material, gates: dict) -> Choice:
    """Returns gates as a choice, at full precision."""
    size = float(make_size_fn("params", whole.inventory)(gates))
    return Choice(gates, uniform_bits(whole.inventory, 16), np.nan, np.nan, size)


def with_biases(whole: Material, length: int) -> Material:
    """Returns the same model with biases, all zero."""
    style = dataclasses.replace(whole.model.main.style, bias=True)
    tower = dataclasses.replace(whole.model.main, style=style)
    model = dataclasses.replace(whole.model, towers=(tower,))
    shapes = flatten(nn.meta.unbox(model.abstract_variables())["params"])
    known = whole.weights
    weights = {
        path: known.get(path, np.zeros(leaf.shape, np.float32))
        for path, leaf in shapes.items()
    }
    variables = dict(whole.variables, params=unflatten(weights))
    return make_material(model, variables, {"": length})


def compensate(side: Side, whole: Material, moments: Moments, gates: dict) -> int:
    """Adds what removed units wrote in the mean, as FLAP does.

    Returns:
        The parameters that were added.
    """
    added = 0
    for place in Walk(whole.model).places():
        for name, unit in (("attention", "heads"), ("mlp", "mlp")):
            path = (*place.path, name, WRITERS[name])
            weight = whole.weights[path]
            gate = gates.get((*path[:-1], unit))
            if gate is None:
                groups = gates[(*path[:-1], "kv_heads")]
                gate = groups.repeat(weight.shape[0] // len(groups))
            if gate.all():
                continue
            rows = weight.reshape(-1, weight.shape[-1])
            closed = 1 - gate.repeat(len(rows) // len(gate))
            bias = (moments.means[path] * closed) @ rows
            side.params(place, name)[f"{WRITERS[name]}_bias"] = bias[None].astype("f4")
            added += len(bias)
    return added


def run(study: Study, arm: str, refits: bool, budgets: list[str], multiple: int):
    """Measures an arm at all budgets that are not there yet."""
    start = f"structure-{arm}{'-refit' if refits else ''}"
    end = f"{study.calibration}{f'-{multiple}' if arm == 'ours' else ''}"
    name = lambda budget: f"{start}-{budget.strip('%')}-{end}"
    left = [budget for budget in budgets if not study.has(name(budget))]
    if not left:
        return
    begun, parts = time.perf_counter(), [float(b.strip("%")) / 100 for b in left]
    choices, whole = choose(study, arm, parts, multiple), study.whole
    own = with_biases(whole, study.flags.length) if arm == "flap" else whole
    sides, added = [], [0] * len(choices)
    for i, choice in enumerate(choices):
        bits = uniform_bits(own.inventory, 16)
        cut = Cut(own, dataclasses.replace(choice, bits=bits), Moments())
        sides.append(close(cut, PLAIN))
        if arm == "flap":
            added[i] = compensate(sides[i], whole, study.moments(), choice.gates)
    if refits:
        refit(study.walk, whole.variables, sides, study.rows, report=Clock())
    for budget, choice, side, more in zip(left, choices, sides, added, strict=True):
        params = int(make_size_fn("params", whole.inventory)(choice.gates)) + more
        entry = dict(part="structure", arm=arm, refit=refits, budget=budget)
        entry |= dict(params=params, predicted=choice.nats, multiple=multiple)
        entry |= dict(seconds=time.perf_counter() - begun, left=count(choice.gates))
        study.write(name(budget), side.variables, own.model, **entry)


def count(gates: dict) -> dict[str, list[int]]:
    """Returns how many units each layer keeps, by kind."""
    found: dict[str, list[int]] = {"kv_heads": [], "mlp": []}
    for path in sorted(gates, key=lambda path: (len(path[0]), path)):
        if path[-1] in found:
            found[path[-1]].append(int(gates[path].sum()))
    return found


def main() -> None:
    """Measures one arm, without and with the refit."""
    parser = make_parser(__doc__)
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--budgets", default="90%,80%,70%")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths, ours")
    flags = parser.parse_args()
    study = open_study(flags)
    for refits in (False, True):
        run(study, flags.arm, refits, flags.budgets.split(","), flags.multiple)


if __name__ == "__main__":
    main()
