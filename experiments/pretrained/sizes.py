"""A packed file of so many bytes: units and bits under one price, or one after another.

Run: python experiments/pretrained/sizes.py --arm=ours --megabytes=50,35,25 --model=DIR
--novels=DIR --workdir=DIR

Arms: ``ours``; ``alike``, units and one number of bits in one pass; ``prune-round``,
first units and then bits, each step with the model before it as its original;
``round-prune``, the other way; ``round``, bits alone, at their price. All of them are
refitted and rounded by the same functions.
"""

import dataclasses
import time
from typing import Any

from bits import KEEP
from structure import count
from study import Clock, Study, make_parser, open_study

from slimjax.compress.offers import Choice
from slimjax.compress.pipeline import PLAIN
from slimjax.compress.refit import refit
from slimjax.compress.side import Side
from slimjax.compress.slimming import Cut, Material, close, make_catalogue
from slimjax.nn.quantize import STATES
from slimjax.objective.inventory import uniform_bits
from slimjax.objective.quantize import QuantizeConfig
from slimjax.resize.config import ResizeConfig

ARMS = ("ours", "alike", "prune-round", "round-prune", "round")
GROUP_SIZE = 64
Jobs = list[tuple[Material, Choice]]


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
    states = STATES if arm in ("ours", "round") else (bits,)
    resize = KEEP if arm == "round" else ResizeConfig(multiple=study.flags.multiple)
    quantize = QuantizeConfig(bits=states, group_size=GROUP_SIZE, group_axis="input")
    parts = material, study.moments(), "bytes", resize, quantize
    catalogue = make_catalogue(*parts)
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


def make(study: Study, arm: str, bits: int, sizes: list[float]) -> list:
    """Returns a choice and the variables for each size; None where it is too small."""
    whole, rounding = (
        study.whole,
        QuantizeConfig(bits=STATES, group_size=GROUP_SIZE, group_axis="input"),
    )
    if arm == "round-prune":
        every = uniform_bits(whole.inventory, bits)
        gates = whole.inventory.open_gates()
        (side,) = apply(
            study, whole, [(whole, Choice(gates, every, 0, 0, 0))], rounding
        )
        whole = dataclasses.replace(whole, variables=side.variables)
    choices = choose(study, whole, arm, bits, sizes)
    known = [choice for choice in choices if choice is not None]
    if arm == "prune-round":
        sides = []
        for side, choice in zip(
            apply(study, whole, [(whole, choice) for choice in known], PLAIN),
            known,
            strict=True,
        ):
            cut = dataclasses.replace(whole, variables=side.variables)
            sides += apply(study, cut, [(cut, choice)], rounding)
    else:
        sides = apply(study, whole, [(whole, choice) for choice in known], rounding)
    found = iter(zip(known, sides, strict=True))
    return [None if choice is None else next(found) for choice in choices]


def main() -> None:
    """Measures one arm."""
    parser = make_parser(__doc__)
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--bits", type=int, default=0, help="of arms with one number")
    parser.add_argument("--megabytes", default="50,35,25")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths")
    flags = parser.parse_args()
    study, begun = open_study(flags), time.perf_counter()
    bits = f"-{flags.bits}" if flags.bits else ""
    name = lambda size: f"sizes-{flags.arm}{bits}-{size}-{study.name}"
    left = [size for size in flags.megabytes.split(",") if not study.has(name(size))]
    found = make(study, flags.arm, flags.bits, [float(s) * 1e6 for s in left])
    for size, made in zip(left, found, strict=True):
        if made is None:
            print(name(size), "is below the least model", flush=True)
            continue
        choice, side = made
        entry: dict[str, Any] = dict(part="sizes", arm=flags.arm, bits=flags.bits)
        entry |= dict(megabytes=size, bytes=choice.size, predicted=choice.nats)
        entry |= dict(seconds=time.perf_counter() - begun, left=count(choice.gates))
        chosen = {".".join(p): int(b[0]) for p, b in choice.bits.items() if len(b)}
        entry |= dict(chosen=chosen)
        study.write(name(size), side.variables, **entry)


if __name__ == "__main__":
    main()
