"""What all budgets of a compression share: text, statistics and prices, taken once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from slimjax.compress.config import PRICE, Request
from slimjax.compress.curves import Curve
from slimjax.compress.errors import Error, measure_all
from slimjax.compress.measures import counted_sizes, size_fn_of
from slimjax.compress.moments import Moments, collect
from slimjax.compress.offers import Catalogue, Choice
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings, limits_of_budget, name_budget
from slimjax.compress.several import Catalogues
from slimjax.compress.slimming import Material, Report, make_catalogue, make_material
from slimjax.compress.texts import read_texts
from slimjax.compress.vocabulary import Vocabulary, check_vocabulary, price_vocabulary
from slimjax.compress.walk import Walk
from slimjax.errors import ConfigError
from slimjax.objective.inventory import Inventory
from slimjax.objective.size import make_size_fn


@dataclasses.dataclass(frozen=True)
class Work:
    """What all budgets of a request share.

    Attributes:
        request: What is asked for.
        settings: All settings.
        start: The original.
        whole: The same, without rows of the vocabulary that are gone.
        moments: Those of the latter.
        catalogues: All that may be made of it, in each measure.
        rows: Calibration.
        texts: Held-out rows by source, that of ``--data`` first.
        before: Errors of the original on them.
        report: Called while it goes on.
        vocabulary: Prices of the rows of the vocabulary, while all are there; None
            where they stay.
        rows_gone: What is reported of rows that are gone.
    """

    request: Request
    settings: Settings
    start: Material
    whole: Material
    moments: Moments
    catalogues: Catalogues
    rows: Rows
    texts: Mapping[str, Text]
    before: Mapping[str, Error]
    report: Report
    vocabulary: Vocabulary | None = None
    rows_gone: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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
    prices_rows = request.vocabulary == PRICE
    if prices_rows:
        check_vocabulary(settings)
    model = settings.model
    walk = Walk(model.config)
    whole = make_material(model.config, model.params, settings.lengths)
    for budget in request.targets:
        limits_of_budget(settings, budget, counted_sizes(settings, whole))
    texts = read_texts(request, settings)
    rows = texts.pop("").rows
    moments = moments or collect(
        *(walk, whole.variables, rows, request.num_slope_rows),
        seed=settings.run.seed,
        report=report,
    )
    vocabulary = None
    if prices_rows:
        vocabulary = price_vocabulary(settings, whole, moments, rows)
    given = whole, moments, settings, vocabulary
    catalogues = catalogues_of(*given, cut_factor=request.cut_factor)
    before = measure_all(whole.model, whole.variables, texts)
    parts = settings, whole, whole, moments, catalogues, rows, texts, before, report
    work = Work(request, *parts, vocabulary)
    for budget in request.targets:
        choose_within(catalogues, limits_of(work, budget), budget)
    return work


def limits_of(work: Work, budget: str) -> dict[str, float]:
    """Returns the largest size in each measure that has a budget."""
    return limits_of_budget(
        work.settings, budget, counted_sizes(work.settings, work.start)
    )


def catalogues_of(
    material: Material,
    moments: Moments,
    settings: Settings,
    vocabulary: Vocabulary | None = None,
    cut_factor: float = 1.0,
) -> Catalogues:
    """Returns all that may be made of a model.

    Args:
        material: The model.
        moments: Those of it.
        settings: All settings.
        vocabulary: Prices of its rows; None where they stay.
        cut_factor: The part of what a cut of units costs that is left after healing.
    """
    measures = settings.objective.measures
    catalogue = make_catalogue(
        material,
        moments,
        measures[0],
        settings.resize,
        settings.quantize,
        None if vocabulary is None else vocabulary.curve,
        size_fn_of(settings, material),
        is_finer=len(measures) == 1,
        cut_factor=cut_factor,
    )
    if len(measures) == 1:
        return Catalogues({measures[0]: catalogue})
    weigh = lambda measure: weigh_again(
        catalogue, catalogue.inventory, catalogue.curves, measure, settings
    )
    return Catalogues({measure: weigh(measure) for measure in measures})


def weigh_again(
    catalogue: Catalogue,
    inventory: Inventory,
    curves: Sequence[Curve],
    measure: str,
    settings: Settings,
) -> Catalogue:
    """Returns offers with the same costs, of another size.

    Args:
        catalogue: The offers.
        inventory: What is counted.
        curves: What may be made of sublayers.
        measure: What counts as size.
        settings: Know how many elements share a step.
    """
    is_one = len(settings.objective.measures) == 1
    return Catalogue(
        inventory,
        curves,
        make_size_fn(measure, inventory, settings.quantize.grid),
        catalogue.states,
        catalogue.bit_nats,
        is_finer=is_one,
        keeps_all=not is_one,
        cut_factor=catalogue.cut_factor,
    )


def choose_within(
    catalogues: Catalogues, limits: Mapping[str, float], name: str
) -> Choice:
    """Returns the best choice within all limits.

    Args:
        catalogues: All choices.
        limits: Largest size in each measure.
        name: The budget, as it was asked for.

    Raises:
        ConfigError: If there is none.
    """
    choice = catalogues.choose(limits)
    if choice is None:
        least = catalogues.least()
        sizes = [f"{least[n]:,.0f} {n}" for n in limits if least[n] > limits[n]]
        raise ConfigError(
            f"{name_budget(name)} is below {' and '.join(sizes) or 'what both need'}, "
            "the smallest that can be made of this model. Set a larger one, or allow "
            "more by --config.resize.units and --config.quantize.bits."
        )
    return choice
