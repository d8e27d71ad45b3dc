"""How much faster a model with fewer parameters writes, at one text at a time.

Run: python experiments/pretrained/decode.py --model=DIR --novels=DIR --workdir=DIR

Original and cut model write in turns, in bfloat16 and in int8. The refit changes no
shape, so it is left out. Measure on an idle machine.
"""

import argparse
import json
import time

from structure import choose
from study import machine, make_parser, open_study, write

from slimjax.compress.decode_speed import compare_decoding
from slimjax.compress.pipeline import PLAIN
from slimjax.compress.slimming import Cut, close, finish


def main() -> None:
    """Measures all budgets."""
    parser: argparse.ArgumentParser = make_parser(__doc__)
    parser.add_argument("--budgets", default="90%,80%,70%")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each format")
    flags = parser.parse_args()
    study = open_study(flags)
    name_of = lambda budget: f"decode-{budget.strip('%')}-{study.name}"
    left = [b for b in flags.budgets.split(",") if not study.has(name_of(b))]
    parts = [float(budget.strip("%")) / 100 for budget in left]
    choices = choose(study, "ours", parts, flags.multiple) if left else []
    for budget, choice in zip(left, choices, strict=True):
        begun, cut = time.perf_counter(), Cut(study.whole, choice, study.moments())
        slim = finish(cut, close(cut, PLAIN))
        timed = compare_decoding(study.whole, slim, flags.seconds)
        entry = dict(part="decode", budget=budget, params=slim.sizes()["params"])
        entry |= dict(timed=timed, multiple=flags.multiple, machine=machine())
        entry |= dict(seconds=time.perf_counter() - begun)
        write(study.result_path(name_of(budget)), entry)
        print(name_of(budget), json.dumps(timed), flush=True)


if __name__ == "__main__":
    main()
