"""Fewer parameters: ours and peers, each with and without the same least squares.

Run: python experiments/pretrained/structure.py --arm=ours --model=DIR --novels=DIR
--workdir=DIR
"""

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from peers import (
    Scores,
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
    "torch-pruning",
    "torch-pruning-alike",
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
        scores = score_units(study, arm.removesuffix("-alike"))
        if arm.endswith("alike"):
            gates = [close_alike(whole, scores, budget) for budget in budgets]
        else:
            if not arm.startswith("torch"):  # Its own are comparable already.
                scores = standardise(scores)
            gates = [close_least(whole, scores, budget) for budget in budgets]
    return [make_choice(whole, own) for own in gates]


def score_units(study: Study, arm: str) -> Scores:
    """Returns the scores of all units by a peer."""
    if arm == "torch-pruning":
        from torch_peer import taylor

        return taylor(study)
    moments = Moments() if arm == "magnitude" else study.moments()
    return {"magnitude": magnitudes, "wanda": wanda, "flap": flap}[arm](
        study.whole, moments
    )


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


class Job(NamedTuple):
    """One figure.

    Attributes:
        arm: What chooses the units.
        budget: Parameters that are left.
        choice: The units.
        side: The model.
        own: The model that it was made of; FLAP's has biases.
        added: Parameters that were added.
    """

    arm: str
    budget: str
    choice: Choice
    side: Side
    own: Material
    added: int


def run(study: Study, arms: list[str], budgets: list[str], multiple: int) -> None:
    """Measures all arms at all budgets, without and then with the refit."""
    begun, jobs = time.perf_counter(), []
    for arm in arms:
        names = lambda budget, arm=arm: [
            name_of(study, arm, budget, refit, multiple) for refit in (False, True)
        ]
        left = [b for b in budgets if not all(map(study.has, names(b)))]
        jobs += make_jobs(study, arm, left, multiple)
    for refits in (False, True):
        sides = [job.side for job in jobs]
        if refits and sides:
            whole = study.walk, study.whole.variables
            refit(*whole, sides, study.refit_rows, report=Clock())
        for job in jobs:
            name = name_of(study, job.arm, job.budget, refits, multiple)
            if study.has(name):
                continue
            size_fn = make_size_fn("params", study.whole.inventory)
            params = int(size_fn(job.choice.gates)) + job.added
            entry: dict[str, Any] = dict(part="structure", arm=job.arm, refit=refits)
            entry |= dict(budget=job.budget, params=params, multiple=multiple)
            entry |= dict(seconds=time.perf_counter() - begun)
            entry |= dict(predicted=job.choice.nats, left=count(job.choice.gates))
            study.write(name, job.side.variables, job.own.model, **entry)


def name_of(study: Study, arm: str, budget: str, refit: bool, multiple: int) -> str:
    """Returns the name of a figure."""
    end = f"-{multiple}" if arm == "ours" else ""
    start = f"structure-{arm}{'-refit' if refit else ''}-{budget.strip('%')}"
    return f"{start}-{study.name}{end}"


def make_jobs(study: Study, arm: str, budgets: list[str], multiple: int) -> list[Job]:
    """Returns the cut models of an arm, before any refit."""
    whole, jobs = study.whole, []
    if not budgets:
        return jobs
    parts = [float(budget.strip("%")) / 100 for budget in budgets]
    own = with_biases(whole, study.flags.length) if arm == "flap" else whole
    choices = choose(study, arm, parts, multiple)
    for budget, choice in zip(budgets, choices, strict=True):
        bits = uniform_bits(own.inventory, 16)
        cut = Cut(own, dataclasses.replace(choice, bits=bits), Moments())
        side, added = close(cut, PLAIN), 0
        if arm == "flap":
            added = compensate(side, whole, study.moments(), choice.gates)
        jobs.append(Job(arm, budget, choice, side, own, added))
    return jobs


def count(gates: dict) -> dict[str, list[int]]:
    """Returns how many units each layer keeps, by kind."""
    found: dict[str, list[int]] = {"kv_heads": [], "mlp": []}
    for path in sorted(gates, key=lambda path: (len(path[0]), path)):
        if path[-1] in found:
            found[path[-1]].append(int(gates[path].sum()))
    return found


def main() -> None:
    """Measures some arms; the original is gone through once for all of them."""
    parser = make_parser(__doc__)
    parser.add_argument("--arm", required=True, help=f"{', '.join(ARMS)}; with commas")
    parser.add_argument("--budgets", default="90%,80%,70%")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths, ours")
    flags = parser.parse_args()
    arms = flags.arm.split(",")
    if not set(arms) <= set(ARMS):
        parser.error(f"--arm={flags.arm}: known are {', '.join(ARMS)}")
    run(open_study(flags), arms, flags.budgets.split(","), flags.multiple)


if __name__ == "__main__":
    main()
