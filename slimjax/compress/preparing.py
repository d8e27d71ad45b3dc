"""What all budgets of a compression share: text, statistics and prices, taken once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.compress.config import PRICE, Request
from slimjax.compress.errors import Error, measure_all
from slimjax.compress.moments import Moments, collect
from slimjax.compress.offers import Catalogue, Choice
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings, size_of_budget
from slimjax.compress.slimming import Material, Report, make_catalogue, make_material
from slimjax.compress.texts import read_texts
from slimjax.compress.vocabulary import Vocabulary, check_vocabulary, price_vocabulary
from slimjax.compress.walk import Walk
from slimjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Work:
    """What all budgets of a request share.

    Attributes:
        request: What is asked for.
        settings: All settings.
        start: The original.
        whole: The same, without rows of the vocabulary that are gone.
        moments: Those of the latter.
        catalogue: All that may be made of it.
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
    catalogue: Catalogue
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
    for budget in request.budgets:
        size_of_budget(settings, budget, whole.sizes()[request.size])
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
    catalogue = catalogue_of(whole, moments, settings, vocabulary)
    before = measure_all(whole.model, whole.variables, texts)
    parts = settings, whole, whole, moments, catalogue, rows, texts, before, report
    work = Work(request, *parts, vocabulary)
    for budget in request.budgets:
        choose_within(catalogue, size_of(work, budget), budget)
    return work


def size_of(work: Work, budget: str) -> float:
    """Returns a budget in its measure."""
    start = work.start.sizes()[work.request.size]
    return size_of_budget(work.settings, budget, start)


def catalogue_of(
    material: Material,
    moments: Moments,
    settings: Settings,
    vocabulary: Vocabulary | None = None,
) -> Catalogue:
    """Returns all that may be made of a model.

    Args:
        material: The model.
        moments: Those of it.
        settings: All settings.
        vocabulary: Prices of its rows; None where they stay.
    """
    return make_catalogue(
        material,
        moments,
        settings.objective.size,
        settings.resize,
        settings.quantize,
        None if vocabulary is None else vocabulary.curve,
    )


def choose_within(catalogue: Catalogue, size: float, name: str) -> Choice:
    """Returns the best choice within a size.

    Args:
        catalogue: All choices.
        size: The size, in the measure of the catalogue.
        name: The budget, as it was asked for.

    Raises:
        ConfigError: If there is none.
    """
    choice = catalogue.choose(size)
    if choice is None:
        raise ConfigError(
            f"--budget={name} is below {catalogue.least():,.0f}, the smallest that "
            "can be made of this model. Set a larger one, or allow more by "
            "--config.resize.units and --config.quantize.bits."
        )
    return choice
