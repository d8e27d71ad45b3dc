"""``slimjax compress``: a finished model made small enough for each of several budgets.

    statistics -> curves and prices of bits -> choice -> cut, refit, round -> report

Statistics of the original are taken once; each budget then has a choice and a model of
its own. With several seams, those of what is left are taken again before each further
cut.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from slimjax.compress.config import Request
from slimjax.compress.describe import describe
from slimjax.compress.errors import Error, measure, measure_all
from slimjax.compress.folder import Result, check_free
from slimjax.compress.healing import heal
from slimjax.compress.moments import Moments, collect
from slimjax.compress.offers import Catalogue, Choice
from slimjax.compress.settings import Settings, read_settings, size_of_budget
from slimjax.compress.slimming import (
    Cut,
    Material,
    Report,
    Slim,
    make_catalogue,
    make_material,
    rounds,
    slim_down,
)
from slimjax.compress.texts import read_texts
from slimjax.compress.walk import Rows, Text, Walk
from slimjax.errors import ConfigError
from slimjax.nn.quantize import FULL, uniform_precision
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import make_size_fn
from slimjax.trees import axis_names, unflatten

PLAIN = QuantizeConfig(bits=(FULL,))
"""Nothing is rounded."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What all budgets of a request share.

    Attributes:
        request: What is asked for.
        settings: All settings.
        whole: The original.
        moments: Those of the original.
        catalogue: All that may be made of it.
        rows: Calibration.
        texts: Held-out rows by source, that of ``--data`` first.
        before: Errors of the original on them.
        report: Called while it goes on.
    """

    request: Request
    settings: Settings
    whole: Material
    moments: Moments
    catalogue: Catalogue
    rows: Rows
    texts: Mapping[str, Text]
    before: Mapping[str, Error]
    report: Report


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
    folders = [check_free(request.folder_of(budget)) for budget in request.budgets]
    settings = read_settings(request)
    work = prepare(request, settings, report)
    made = make_slims(work, request.budgets)
    for folder, budget, (slim, seams) in zip(
        folders, request.budgets, made, strict=True
    ):
        after = measure_all(slim.model, slim.variables, work.texts)
        seconds = time.perf_counter() - begun
        described = describe_slim(work, budget, slim, seams, after, seconds)
        bits = slim.bits if rounds(settings.quantize) else None
        _as_result(slim, settings).write(folder, settings.folder, bits, described)
        reports.append(described)
    return reports


def prepare(
    request: Request,
    settings: Settings,
    report: Report = lambda *_: None,
    moments: Moments | None = None,
) -> Work:
    """Reads the text and takes the statistics of the original.

    Args:
        request: What is asked for.
        settings: All settings.
        report: Called while it goes on.
        moments: Those of an earlier call with the same model and text, if there was
            one.

    Raises:
        SlimjaxError: For a mistake of the user.
    """
    model = settings.model
    walk = Walk(model.config)
    whole = make_material(model.config, model.params, settings.run.data.seq_len)
    for budget in request.budgets:
        size_of_budget(settings, budget, whole.sizes()[request.size])
    texts = read_texts(request, settings)
    rows = texts.pop("").rows
    moments = moments or collect(
        *(walk, whole.variables, rows, request.num_slope_rows),
        seed=settings.run.seed,
        report=report,
    )
    catalogue = _catalogue_of(whole, moments, settings)
    before = measure_all(whole.model, whole.variables, texts)
    parts = settings, whole, moments, catalogue, rows, texts, before, report
    work = Work(request, *parts)
    for budget in request.budgets:
        _choose(catalogue, _size_of(work, budget), budget)
    return work


def _size_of(work: Work, budget: str) -> float:
    start = work.whole.sizes()[work.request.size]
    return size_of_budget(work.settings, budget, start)


Seams = list[dict[str, float]]
"""What each cut on the way to a budget cost."""


def make_slims(work: Work, budgets: Sequence[str]) -> list[tuple[Slim, Seams]]:
    """Returns a model within each of several budgets, and what its seams cost.

    Args:
        work: What all budgets share.
        budgets: As they were asked for.
    """
    request, quantize = work.request, work.settings.quantize
    heals, num_seams = request.heal_steps > 0, request.num_seams
    found: list[Slim | None] = [None] * len(budgets)
    seams: list[Seams] = [[] for _ in budgets]
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
            seams[i].append(_measure_seam(work, slim))
    last = [slim for slim in found if slim is not None]
    if heals:
        last = [_heal(work, slim) for slim in last]
    return list(zip(last, seams, strict=True))


def _next_cut(work: Work, slim: Slim | None, budget: str, number: int) -> Cut:
    """Returns what a seam is to do.

    Args:
        work: What all budgets share.
        slim: What is left of the original; None before the first seam.
        budget: As it was asked for.
        number: Number of the seam; all but the last one remove units only.
    """
    num_seams, size = work.request.num_seams, _size_of(work, budget)
    final = _choose(work.catalogue, size, budget)
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
        return Cut(current, _choose(catalogue, part * start, f"{part:.1%}"), moments)
    if slim is None:
        return Cut(current, final, moments)
    catalogue = _catalogue_of(current, moments, work.settings)
    return Cut(current, _choose(catalogue, size, budget), moments)


def _params_of(material: Material, choice: Choice) -> float:
    """Returns the parameters that a choice leaves."""
    return float(make_size_fn("params", material.inventory)(choice.gates))


def _heal(work: Work, slim: Slim) -> Slim:
    """Returns a cut model after healing, and then rounded, if it is to be."""
    settings, whole = work.settings, work.whole
    variables, _ = heal(
        *(whole.model, whole.variables, slim.model, slim.variables, work.rows),
        num_steps=work.request.heal_steps,
        seed=settings.run.seed,
        report=work.report,
    )
    healed = dataclasses.replace(slim, variables=variables)
    if not rounds(settings.quantize):
        return healed
    choice = dataclasses.replace(slim.choice, gates=slim.inventory.open_gates())
    cut = Cut(healed, choice, work.moments)
    parts = [cut], work.rows, settings.quantize, work.report
    (rounded,) = slim_down(healed, *parts)
    return dataclasses.replace(rounded, choice=slim.choice)


def _measure_seam(work: Work, slim: Slim) -> dict[str, float]:
    source = work.request.data
    text = work.texts[source]
    after = measure(slim.model, slim.variables, text.rows)
    change = after.nats_per_target - work.before[source].nats_per_target
    sizes = slim.sizes(slim.bits, work.settings.quantize.group_size)
    return {
        "predicted_loss_change": slim.choice.nats,
        "true_loss_change": change,
        "params": sizes["params"],
        "bytes": sizes["bytes"],
    }


def _catalogue_of(
    material: Material, moments: Moments, settings: Settings
) -> Catalogue:
    measure_of, resize = settings.objective.size, settings.resize
    return make_catalogue(material, moments, measure_of, resize, settings.quantize)


def _choose(catalogue: Catalogue, size: float, name: str) -> Choice:
    choice = catalogue.choose(size)
    if choice is None:
        raise ConfigError(
            f"--budget={name} is below {catalogue.least():,.0f}, the smallest that "
            "can be made of this model. Set a larger one, or allow more by "
            "--config.resize.units and --config.quantize.bits."
        )
    return choice


def describe_slim(
    work: Work,
    budget: str,
    slim: Slim,
    seams: list[dict[str, float]],
    after: Mapping[str, Error],
    seconds: float,
) -> dict[str, Any]:
    """Returns the content of ``report.json``; see `slimjax.compress.describe`."""
    sizes = slim.sizes(slim.bits, work.settings.quantize.group_size)
    return describe(
        work.request,
        work.settings,
        budget,
        original=work.whole.model.architecture({}),
        slim=slim.model,
        choice=slim.choice,
        errors=(work.before, after),
        sizes=(work.whole.sizes(), sizes),
        seams=seams,
        seconds=seconds,
    )


def _as_result(slim: Slim, settings: Settings) -> Result:
    params = slim.variables["params"]
    names = axis_names(slim.model.abstract_variables())["params"]
    fits = uniform_precision(params, names, FULL)["fit"]
    precision = {"bits": unflatten(dict(slim.bits)), "fit": fits}
    group_size = settings.quantize.group_size
    return Result(slim.model, params, names, precision, slim.steps, group_size)
