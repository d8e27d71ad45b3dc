"""Fewer parameters with rows of the vocabulary as units, all under one price.

Run: python experiments/pretrained/vocabulary.py --budgets=86%,80%,70% --model=DIR
--novels=DIR --workdir=DIR

Errors are per token of the original, on the same bytes. The standard library, which was
not calibrated on, shows what that costs on code.
"""

import dataclasses
import time
from typing import Any

from structure import count
from study import (
    CALIBRATIONS,
    HELD_OUT,
    PERSUASION,
    Clock,
    Study,
    make_parser,
    make_request,
    open_study,
)

from slimjax.compress.config import PRICE
from slimjax.compress.errors import measure_all
from slimjax.compress.pipeline import make_slims_and_work, measure_slim
from slimjax.compress.preparing import Work, catalogues_of
from slimjax.compress.vocabulary import price_vocabulary
from slimjax.resize.config import ResizeConfig
from slimjax.trees import count_elements


def make_work(study: Study) -> Work:
    """Returns what ``slimjax compress --vocabulary=price`` makes of the same rows."""
    flags, whole, moments = study.flags, study.whole, study.moments()
    settings = dataclasses.replace(
        study.settings, resize=ResizeConfig(multiple=flags.multiple)
    )
    if flags.calibration != "novels":  # Rows are counted in all that calibrates.
        more = [n for n in CALIBRATIONS[flags.calibration] if n != "novels"]
        source = ",".join([str(settings.run.data.source), *more])
        data = dataclasses.replace(settings.run.data, source=source)
        run = dataclasses.replace(settings.run, data=data)
        settings = dataclasses.replace(settings, run=run)
    vocabulary = price_vocabulary(settings, whole, moments, study.rows)
    catalogues = catalogues_of(whole, moments, settings, vocabulary)
    before = measure_all(whole.model, whole.variables, study.texts)
    own = HELD_OUT if HELD_OUT in study.texts else PERSUASION  # What seams report.
    request = dataclasses.replace(make_request(flags), data=own, vocabulary=PRICE)
    parts = request, settings, whole, whole, moments, catalogues, study.refit_rows
    return Work(*parts, study.texts, before, Clock(), vocabulary)


def main() -> None:
    """Measures all budgets."""
    parser = make_parser(__doc__)
    parser.add_argument("--budgets", default="86%,80%,70%")
    parser.add_argument("--multiple", type=int, default=16, help="of MLP widths")
    flags = parser.parse_args()
    study, begun = open_study(flags), time.perf_counter()
    name_of = lambda budget: f"vocabulary-{budget.strip('%')}-{study.name}"
    left = [b for b in flags.budgets.split(",") if not study.has(name_of(b))]
    if not left:
        return
    study.original()
    work = make_work(study)
    for budget in left:
        (made,) = make_slims_and_work(work, [budget])
        gone, slim = made.work.rows_gone, made.slim
        entry: dict[str, Any] = dict(part="vocabulary", arm="ours", budget=budget)
        entry |= dict(params=count_elements(slim.variables["params"]))
        entry |= dict(rows=gone["rows"], rows_start=gone["rows_start"])
        entry |= dict(tokens=gone["tokens"], nats_per_token=gone["nats_per_token"])
        entry |= dict(predicted=slim.choice.nats + gone["predicted_loss_change"])
        entry |= dict(left=count(slim.choice.gates), multiple=flags.multiple)
        entry |= dict(seconds=time.perf_counter() - begun)
        study.record(name_of(budget), measure_slim(made.work, slim), **entry)


if __name__ == "__main__":
    main()
