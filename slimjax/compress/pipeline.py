"""``slimjax compress``: a finished model made small enough for each of several budgets.

    statistics -> curves and prices of bits -> choice -> cut, refit, round -> report

Statistics of the original are taken once; each budget then has a choice and a model of
its own. With several seams, those of what is left are taken again before each further
cut.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slimjax.compress.config import Request
from slimjax.compress.decode_speed import compare_decoding
from slimjax.compress.describe import describe
from slimjax.compress.errors import Error, measure_all
from slimjax.compress.folder import Result, check_free
from slimjax.compress.gguf_budget import export_within
from slimjax.compress.healed import heal_and_round
from slimjax.compress.measures import sizes_of
from slimjax.compress.moments import collect
from slimjax.compress.narrowing import narrow
from slimjax.compress.offers import Choice
from slimjax.compress.preparing import (
    Work,
    catalogues_of,
    choose_within,
    limits_of,
    prepare,
)
from slimjax.compress.seams import Seam, measure_seam, nats_of_rows
from slimjax.compress.settings import Settings, read_settings
from slimjax.compress.several import Catalogues
from slimjax.compress.slimming import (
    Cut,
    Material,
    Report,
    Slim,
    make_catalogue,
    rounds,
    slim_down,
)
from slimjax.compress.texts import LANGUAGE_MODEL
from slimjax.compress.walk import Walk
from slimjax.nn.quantize import FULL, uniform_precision
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import make_size_fn
from slimjax.trees import axis_names, unflatten

PLAIN = QuantizeConfig(bits=(FULL,))
"""Nothing is rounded."""


def compress(
    request: Request, report: Report = lambda *_: None
) -> list[dict[str, Any]]:
    """Makes a model smaller, once for each budget, and writes a run folder for each.

    Args:
        request: What is asked for.
        report: Called while it goes on.

    Returns:
        The content of each ``report.json``.

    Raises:
        SlimjaxError: For a mistake of the user; nothing is left behind.
    """
    begun, reports = time.perf_counter(), []
    folders = [check_free(request.folder_of(budget)) for budget in request.targets]
    settings = read_settings(request)
    work = prepare(request, settings, report)
    made = make_slims_and_work(work, request.targets)
    for folder, budget, one in zip(folders, request.targets, made, strict=True):
        own, slim = one.work, one.slim
        after = measure_slim(own, slim)
        seconds = time.perf_counter() - begun
        described = describe_slim(one, budget, after, seconds)
        bits = slim.bits if rounds(settings.quantize) else None
        codecs = own.settings.model.codecs if own.rows_gone else None
        result = _as_result(slim, settings)
        export = _make_export(own, slim, budget)
        result.write(folder, settings.folder, bits, described, codecs, export)
        reports.append(described)
    return reports


class Made(NamedTuple):
    """A model within a budget, and how it came about.

    Attributes:
        work: That of its budget.
        slim: The model.
        seams: What each cut cost, before any healing.
        healing: What healing took; empty without it.
    """

    work: Work
    slim: Slim
    seams: list[Seam]
    healing: Mapping[str, Any]


def make_slims_and_work(work: Work, budgets: Sequence[str]) -> list[Made]:
    """Returns what is made for each of several budgets.

    Where rows of the vocabulary go, each budget has an original of its own.
    """
    if work.vocabulary is None:
        return make_slims(work, budgets)
    found = []
    for budget in budgets:
        found += make_slims(narrow(work, budget), [budget])
    return found


def make_slims(work: Work, budgets: Sequence[str]) -> list[Made]:
    """Returns a model within each of several budgets.

    Args:
        work: What all budgets share.
        budgets: As they were asked for.
    """
    request, quantize = work.request, work.settings.quantize
    heals, num_seams = request.heal_steps > 0, request.num_seams
    found: list[Slim | None] = [None] * len(budgets)
    seams: list[list[Seam]] = [[] for _ in budgets]
    for number in range(num_seams):
        is_last = number == num_seams - 1
        cuts = [
            _next_cut(work, slim, budget, number)
            for slim, budget in zip(found, budgets, strict=True)
        ]
        own = quantize if is_last and not heals else PLAIN
        slims = slim_down(work.whole, cuts, work.rows, own, work.report)
        for i, slim in enumerate(slims):
            found[i] = slim
            seams[i].append(measure_seam(work, slim, seams[i]))
    last = [slim for slim in found if slim is not None]
    took = [(_heal(work, slim) if heals else (slim, {})) for slim in last]
    pairs = zip(took, seams, strict=True)
    return [Made(work, slim, own, healing) for (slim, healing), own in pairs]


def _next_cut(work: Work, slim: Slim | None, budget: str, number: int) -> Cut:
    """Returns what a seam is to do.

    Args:
        work: What all budgets share.
        slim: What is left of the original; None before the first seam.
        budget: As it was asked for.
        number: Number of the seam; all but the last one remove units only.
    """
    num_seams, limits = work.request.num_seams, limits_of(work, budget)
    final = choose_within(work.catalogues, limits, budget)
    current, moments = slim or work.whole, work.moments
    if slim is not None:
        moments = collect(
            Walk(slim.model),
            *(slim.variables, work.rows, work.request.num_slope_rows),
            seed=work.settings.run.seed,
            report=work.report,
        )
    if number < num_seams - 1:
        catalogue = make_catalogue(
            current, moments, "params", work.settings.resize, PLAIN
        )
        start = work.whole.sizes()["params"]
        part = (_params_of(work.whole, final) / start) ** ((number + 1) / num_seams)
        least = Catalogues({"params": catalogue}), {"params": part * start}
        return Cut(current, choose_within(*least, f"{part:.1%}"), moments)
    if slim is None:
        return Cut(current, final, moments)
    factor = work.request.cut_factor
    catalogues = catalogues_of(current, moments, work.settings, cut_factor=factor)
    return Cut(current, choose_within(catalogues, limits, budget), moments)


def _params_of(material: Material, choice: Choice) -> float:
    """Returns the parameters that a choice leaves."""
    return float(make_size_fn("params", material.inventory)(choice.gates))


def _heal(work: Work, slim: Slim) -> tuple[Slim, dict[str, Any]]:
    """Returns a cut model after healing, rounded if it is to be, and what that took."""
    return heal_and_round(
        *(work.whole, slim, work.moments, work.rows, work.settings.quantize),
        num_steps=work.request.heal_steps,
        healing=work.settings.healing,
        seed=work.settings.run.seed,
        report=work.report,
    )


def measure_slim(work: Work, slim: Slim) -> dict[str, Error]:
    """Returns the errors of a model, per target of the original on the same text."""
    found = measure_all(slim.model, slim.variables, work.texts)
    return {
        name: error._replace(num_targets=work.before[name].num_targets)
        for name, error in found.items()
    }


def describe_slim(
    made: Made, budget: str, after: Mapping[str, Error], seconds: float
) -> dict[str, Any]:
    """Returns the content of ``report.json``; see `slimjax.compress.describe`.

    Args:
        made: The model, and how it came about.
        budget: As it was asked for.
        after: Its errors, by source.
        seconds: Time that this budget took.
    """
    work, slim = made.work, made.slim
    start = sizes_of(work.settings, work.start)
    sizes = start, sizes_of(work.settings, slim, slim.bits)
    nats = sum(seam["predicted_loss_change"] for seam in made.seams)
    of_bits = slim.choice.nats - slim.choice.structure_nats
    of_cuts = nats - of_bits - nats_of_rows(work)
    timed = work.request.times_decoding and work.settings.run.task == LANGUAGE_MODEL
    return describe(
        work.request,
        work.settings,
        budget,
        original=work.start.model.architecture({}),
        slim=slim.model,
        choice=dataclasses.replace(slim.choice, nats=nats, structure_nats=of_cuts),
        errors=(work.before, after),
        sizes=sizes,
        limits=_named(work.request, limits_of(work, budget)),
        seams=made.seams,
        healing=made.healing,
        rows_gone=work.rows_gone,
        decoding=compare_decoding(work.start, slim) if timed else [],
        seconds=seconds,
    )


def _make_export(
    work: Work, slim: Slim, budget: str
) -> Callable[[Path], dict[str, Any]] | None:
    """Returns what writes a compressed model's GGUF file, if its bytes are counted."""
    request, settings = work.request, work.settings
    if not request.kind:
        return None
    own = dict(config=slim.model, params=slim.variables, _frozen={})
    model = dataclasses.replace(settings.model, **own)
    parts = model, settings.run.task, request.kind, limits_of(work, budget)["bytes"]
    return lambda folder: export_within(
        folder, *parts, work.rows, work.texts, work.report
    )


def _named(request: Request, limits: dict[str, float]) -> dict[str, float]:
    """Returns limits by the measure that was asked for, if that is of a file."""
    return {request.size: limits["bytes"]} if request.kind else limits


def _as_result(slim: Slim, settings: Settings) -> Result:
    params = slim.variables["params"]
    names = axis_names(slim.model.abstract_variables())["params"]
    fits = uniform_precision(params, names, FULL)["fit"]
    precision = {"bits": unflatten(dict(slim.bits)), "fit": fits}
    grid = settings.quantize.grid
    return Result(slim.model, params, names, precision, slim.scales, grid)
