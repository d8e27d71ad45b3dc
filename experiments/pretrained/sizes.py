"""A packed file of so many bytes: units and bits under one price, or one after another.

Run: python experiments/pretrained/sizes.py --arm=ours --megabytes=50,35,25 --model=DIR
--novels=DIR --workdir=DIR

Arms: ``ours``; ``ours-whole``, where units that are healed have their whole price;
``alike``, units and one number of bits in one pass; ``prune-round``, first units and
then bits, each step with the model before it as its original; ``round-prune``, the
other way; ``round``, bits alone, at their price. All of them are refitted and rounded
by the same functions.

With ``--heal_tflop`` each is healed after its cut, and rounded after that, with as many
steps as the same FLOPs allow: the original teaches all of them. With ``--kept_rows``
the same rows of the vocabulary are cut for all of them beforehand.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from bits import KEEP
from jaxtyping import PyTree
from narrowed import narrow
from structure import count
from study import Clock, Study, make_parser, open_study

from slimjax.compress.config import HEALED
from slimjax.compress.healed import count_step_flops, heal_and_round
from slimjax.compress.offers import Choice
from slimjax.compress.pipeline import PLAIN
from slimjax.compress.refit import refit
from slimjax.compress.side import Side
from slimjax.compress.slimming import Cut, Material, close, finish, make_catalogue
from slimjax.models.config import ModelConfig
from slimjax.nn.quantize import STATES
from slimjax.objective.inventory import uniform_bits
from slimjax.objective.quantize import QuantizeConfig
from slimjax.resize.config import ResizeConfig

ARMS = ("ours", "ours-whole", "alike", "prune-round", "round-prune", "round")
ROUNDING = QuantizeConfig(bits=STATES, group_size=64, group_axis="input")
Jobs = list[tuple[Material, Choice]]


class Made(NamedTuple):
    """A model of some bytes.

    Attributes:
        choice: What it became.
        variables: Its variables.
        model: Its shape; None for that of the original, with zeros for what is gone.
        healing: What healing took; empty without it.
    """

    choice: Choice
    variables: PyTree
    model: ModelConfig | None
    healing: dict[str, Any]


def choose(
    study: Study, material: Material, arm: str, bits: int, sizes: list[float]
) -> list[Choice | None]:
    """Returns what is kept within each of several sizes.

    Args:
        study: Knows the statistics.
        material: The model that is cut, of the original's shape.
        arm: Whether units, bits or both are chosen.
        bits: Bits of all weights, where they are not chosen.
        sizes: In bytes.
    """
    is_priced = arm.startswith("ours") or arm == "round"
    states = STATES if is_priced else (bits,)
    resize = KEEP if arm == "round" else ResizeConfig(multiple=study.flags.multiple)
    quantize = dataclasses.replace(ROUNDING, bits=states)
    parts = material, study.moments(), "bytes", resize, quantize
    is_lower = arm == "ours" and study.flags.heal_tflop > 0
    catalogue = make_catalogue(*parts, cut_factor=HEALED if is_lower else 1.0)
    return [catalogue.choose(size) for size in sizes]


def apply(
    study: Study, original: Material, jobs: Jobs, quantize: QuantizeConfig
) -> list[Side]:
    """Returns models that are cut, refitted and rounded.

    Args:
        study: Knows the rows.
        original: What they are to be near to.
        jobs: Models, and what is to become of them.
        quantize: Whether they are rounded.
    """
    moments = study.moments()
    sides = [close(Cut(own, choice, moments), quantize) for own, choice in jobs]
    refit(study.walk, original.variables, sides, study.refit_rows, report=Clock())
    return sides


def start(study: Study, arm: str, bits: int) -> Material:
    """Returns the model that an arm cuts: the original, or the same rounded."""
    whole = study.whole
    if arm != "round-prune":
        return whole
    every, gates = uniform_bits(whole.inventory, bits), whole.inventory.open_gates()
    jobs = [(whole, Choice(gates, every, 0, 0, 0))]
    (side,) = apply(study, whole, jobs, ROUNDING)
    return dataclasses.replace(whole, variables=side.variables)


def make(
    study: Study, arm: str, bits: int, sizes: list[float]
) -> Iterator[Made | None]:
    """Yields a model for each size; None where it is too small."""
    whole = start(study, arm, bits)
    choices = choose(study, whole, arm, bits, sizes)
    known = [choice for choice in choices if choice is not None]
    jobs, tflop = [(whole, choice) for choice in known], study.flags.heal_tflop
    made: Iterator[Made]
    if tflop:
        sides = zip(jobs, apply(study, whole, jobs, PLAIN), strict=True)
        made = (heal_one(study, *job, side, tflop) for job, side in sides)
    elif arm == "prune-round":
        sides = zip(jobs, apply(study, whole, jobs, PLAIN), strict=True)
        made = (round_one(study, *job, side) for job, side in sides)
    else:
        sides = zip(known, apply(study, whole, jobs, ROUNDING), strict=True)
        made = (Made(choice, side.variables, None, {}) for choice, side in sides)
    for choice in choices:
        yield None if choice is None else next(made)


def round_one(study: Study, own: Material, choice: Choice, side: Side) -> Made:
    """Returns a cut and refitted model, rounded as if it were the original."""
    cut = dataclasses.replace(own, variables=side.variables)
    (last,) = apply(study, cut, [(cut, choice)], ROUNDING)
    return Made(choice, last.variables, None, {})


def heal_one(
    study: Study, own: Material, choice: Choice, side: Side, tflop: float
) -> Made:
    """Returns a cut and refitted model after healing with so many FLOPs, rounded."""
    moments, rows = study.moments(), study.rows
    slim = finish(Cut(own, choice, moments), side)
    num_steps = int(tflop * 1e12 // count_step_flops(study.whole, slim, rows))
    if not num_steps:
        raise SystemExit(f"--heal_tflop={tflop:g} is less than one step")
    options: dict[str, Any] = dict(num_steps=num_steps, report=Clock())
    options |= dict(refit_rows=study.refit_rows)
    parts = study.whole, slim, moments, rows, ROUNDING
    healed, took = heal_and_round(*parts, **options)
    return Made(choice, healed.variables, healed.model, took)


def name_of(study: Study, size: str) -> str:
    """Returns the name of a figure."""
    flags = study.flags
    bits = f"-{flags.bits}" if flags.bits else ""
    healed = f"-healed{flags.heal_tflop:g}" if flags.heal_tflop else ""
    return f"sizes-{flags.arm}{bits}{healed}-{size}-{study.name}"


def parse() -> argparse.Namespace:
    """Returns the flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--bits", type=int, default=0, help="of arms with one number")
    parser.add_argument("--megabytes", default="50,35,25")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths")
    parser.add_argument("--kept_rows", type=int, default=0, help="0 for all rows")
    parser.add_argument("--heal_tflop", type=float, default=0.0, help="0 for none")
    flags = parser.parse_args()
    if flags.arm == "round" and flags.heal_tflop:
        parser.error("--arm=round: nothing is cut, so there is nothing to heal")
    return flags


def main() -> None:
    """Measures one arm."""
    flags = parse()
    study, begun = narrow(open_study(flags), flags.kept_rows), time.perf_counter()
    sizes = flags.megabytes.split(",")
    left = [size for size in sizes if not study.has(name_of(study, size))]
    if not left:
        return
    found = make(study, flags.arm, flags.bits, [float(s) * 1e6 for s in left])
    for size, made in zip(left, found, strict=True):
        if made is None:
            print(name_of(study, size), "is below the least model", flush=True)
            continue
        choice, model = made.choice, made.model
        entry: dict[str, Any] = dict(part="sizes", arm=flags.arm, bits=flags.bits)
        entry |= dict(megabytes=size, bytes=choice.size, predicted=choice.nats)
        entry |= dict(heal_tflop=flags.heal_tflop, healing=made.healing)
        entry |= dict(seconds=time.perf_counter() - begun, left=count(choice.gates))
        chosen = {".".join(p): int(b[0]) for p, b in choice.bits.items() if len(b)}
        entry |= dict(chosen=chosen)
        study.write(name_of(study, size), made.variables, model, **entry)


if __name__ == "__main__":
    main()
