"""The block ``config.objective``: what shall be small, checked at start-up."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import ClassVar

from slimjax.errors import ConfigError, suggest
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import parse_measure
from slimjax.objective.towers import SHARED_OUT

DENSE = ("none", "scratch")
"""Strategies that remove nothing."""

PRICED = ("exchange", "size_penalty", "size_decay", "hard_concrete", "learned_bits")
"""Strategies that take a price or a budget."""

RANKING = ("magnitude", "wanda", "taylor", "random")
"""Strategies that only rank units: they take a budget."""

STRATEGIES = (*DENSE, *PRICED, *RANKING)
REPORT_UNITS = ("nats", "bits")
SUFFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
SUFFIXES |= {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}
SUFFIXES |= {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What is to be small, by which strategy, at which price or budget.

    Attributes:
        strategy: How units are chosen for removal: exchange, size_penalty, size_decay,
            hard_concrete or learned_bits; a baseline that only ranks: magnitude, wanda,
            taylor or random; or dense training: none, or scratch with the shape in
            ``config.model.architecture``. See docs/strategies.md.
        size: What is counted: params, flops (per token), bytes (of the packed file),
            kv_bytes (per token) or latency (seconds per generated token). Or a weighted
            sum of them, each as a fraction of its start: ``"0.5*params+0.5*flops"``.
        latency_table: A ``latency.json`` that was measured before, on the machine in
            question; empty to measure here when the run begins.
        report_in: Units of the report: nats, or bits, which adds the description length
            of the training text (model, tokenizer and text). Bits are for texts that a
            language model reads. Training is the same, and alpha stays in nats.
        alpha: The price of the whole starting model, in nats per target; 0 for none.
            For size_decay it is the part of Adam's largest step by which weights
            shrink.
        budget: Largest size of the final model: a number in the measure (``2e6``,
            ``"2M"``) or a part of the start (``"40%"``); empty for none.
        budgets: Several budgets at once, by measure, instead of `size` and `budget`:
            ``{"bytes": "2M", "kv_bytes": "50%"}``.
        division: How a budget is divided between the towers of a model (exchange).
            Empty means by one price for all, which takes what costs least. ``even``:
            each tower keeps the same part of its size. The name of a tower, such as
            ``image``, or ``main``: it is cut to its least before anything else is.
        gate_learning_rate: Largest step of gates (size_penalty, hard_concrete), or of
            depths as parts of 16 bits (learned_bits).
        price_rate: Factor on how fast a budget raises the price inside the step
            (size_penalty, size_decay, hard_concrete, learned_bits).
        max_price_ratio: Largest ratio of the price that a budget finds at a seam to the
            price at the seam before (exchange); 0 for no limit. The last seam meets the
            budget at any price.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"units": "report_in"}

    strategy: str = "none"
    size: str = "params"
    report_in: str = "nats"
    alpha: float = 0.0
    budget: float | str = ""
    budgets: dict = dataclasses.field(default_factory=dict)
    division: str = ""
    gate_learning_rate: float = 0.01
    price_rate: float = 1.0
    max_price_ratio: float = 0.0
    latency_table: str = ""

    def __post_init__(self):
        """Refuses invalid settings."""
        choices = (("strategy", STRATEGIES), ("report_in", REPORT_UNITS))
        for name, known in choices:
            value = getattr(self, name)
            if value not in known:
                hint = suggest(value, known)
                raise ConfigError(
                    f"config.objective.{name}={value!r} is unknown. {hint}"
                )
        for name in ("alpha", "gate_learning_rate", "price_rate", "max_price_ratio"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ConfigError(
                    f"config.objective.{name}={value} must be finite, 0 or more."
                )
        self._check_price()
        self._check_price_ratio()
        self._check_division()
        parse_measure(self.size)
        if self.latency_table and not self.counts_latency:
            raise ConfigError(
                f"config.objective.latency_table={self.latency_table!r} is read for "
                "config.objective.size='latency', which is not asked for."
            )
        for measure in self.budgets:
            parse_measure(measure, "config.objective.budgets")
        self.budget_sizes(dict.fromkeys(self.measures, 1.0))

    def _check_price(self) -> None:
        """Refuses a price beside a budget, or where either means nothing."""
        strategy = f"config.objective.strategy={self.strategy!r}"
        if self.alpha and self.has_budget:
            raise ConfigError(
                f"config.objective.alpha={self.alpha} and {self.describe_budgets()} "
                "exclude each other: a budget finds its own price. Set one of them."
            )
        if self.budget != "" and self.budgets:
            raise ConfigError(
                f"config.objective.budget={self.budget!r} and config.objective.budgets="
                f"{self.budgets!r} exclude each other. Set one of them."
            )
        if self.strategy in DENSE and (self.alpha or self.has_budget):
            raise ConfigError(
                f"{strategy} trains at one size and takes no alpha and no budget. Set "
                f"{self._describe_off()}, or config.objective.strategy='exchange'."
            )
        if self.strategy in RANKING and self.alpha:
            raise ConfigError(
                f"{strategy} takes no price, config.objective.alpha={self.alpha}: it "
                "ranks units, in no nats. Set config.objective.budget."
            )
        if self.strategy in RANKING and not self.has_budget:
            raise ConfigError(f"{strategy} needs config.objective.budget.")
        if self.strategy in PRICED and not self.alpha and not self.has_budget:
            raise ConfigError(
                f"{strategy} needs a price or a budget: set config.objective.alpha or "
                "config.objective.budget."
            )

    def _describe_off(self) -> str:
        """Returns the settings that ask for no size at all."""
        settings = ["config.objective.budget=''"] if self.budget != "" else []
        settings += ["config.objective.budgets={}"] if self.budgets else []
        settings += ["config.objective.alpha=0"] if self.alpha else []
        return " and ".join(settings)

    def _check_price_ratio(self) -> None:
        ratio = f"config.objective.max_price_ratio={self.max_price_ratio}"
        if self.max_price_ratio and self.max_price_ratio <= 1:
            raise ConfigError(f"{ratio} must be above 1, or 0 for no limit.")
        if self.max_price_ratio and not (
            self.strategy == "exchange" and self.has_budget
        ):
            raise ConfigError(
                f"{ratio} limits prices that a budget finds at seams, in nats: it "
                "needs config.objective.strategy='exchange' and "
                "config.objective.budget."
            )

    def _check_division(self) -> None:
        """Refuses to divide what is no budget, or is no sum over weights."""
        if not self.division:
            return
        division = f"config.objective.division={self.division!r}"
        if not (self.strategy == "exchange" and self.has_budget):
            raise ConfigError(
                f"{division} divides a budget at seams: it needs "
                "config.objective.strategy='exchange' and config.objective.budget."
            )
        odd = [name for name in self.measures if name not in SHARED_OUT]
        if odd:
            raise ConfigError(
                f"{division} needs measures that are {', '.join(SHARED_OUT)}, not "
                f"{odd[0]!r}."
            )

    @property
    def has_budget(self) -> bool:
        """Whether a budget was asked for."""
        return self.budget != "" or bool(self.budgets)

    @property
    def counts_latency(self) -> bool:
        """Whether latency has a price."""
        return any(LATENCY in parse_measure(measure) for measure in self.measures)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that have a price."""
        return tuple(sorted(self.budgets)) or (self.size,)

    @property
    def main_measure(self) -> str:
        """The measure that stands for the size of the model: `size`, if it is priced.

        Examples:
            >>> ObjectiveConfig("exchange", budgets={"bytes": "40%"}).main_measure
            'bytes'
        """
        return self.size if self.size in self.measures else self.measures[0]

    def describe_budgets(self) -> str:
        """Returns what was asked for, as it stands in the config."""
        if self.budgets:
            return f"config.objective.budgets={self.budgets!r}"
        return f"config.objective.budget={self.budget!r}"

    def budget_sizes(self, start: Mapping[str, float]) -> dict[str, float]:
        """Returns the budget of each measure that has one.

        Args:
            start: Sizes of the model at its start, by measure.

        Examples:
            >>> config = ObjectiveConfig("exchange", budgets={"bytes": "40%"})
            >>> config.budget_sizes({"bytes": 500.0})
            {'bytes': 200.0}
        """
        if not self.has_budget:
            return {}
        if self.budget != "":
            return {self.size: self.budget_size(start[self.size])}
        return {
            measure: _parse_size(
                self.budgets[measure], start[measure], f"budgets.{measure}"
            )
            for measure in sorted(self.budgets)
        }

    def budget_size(self, start: float) -> float:
        """Returns the one budget in its measure, for a model that starts at `start`.

        Examples:
            >>> ask = lambda budget: ObjectiveConfig("exchange", budget=budget)
            >>> ask("40%").budget_size(500.0), ask("2M").budget_size(500.0)
            (200.0, 2000000.0)
        """
        return _parse_size(self.budget, start, "budget")


def _parse_size(size: float | str, start: float, name: str) -> float:
    """Returns a size, also one that is a part of the start's."""
    number, unit = size, ""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*([-+.\deE]+?)\s*([A-Za-z]*|%)\s*", size)
        number, unit = match.groups() if match else ("", "")
    try:
        value = float(number)
    except (TypeError, ValueError):
        value = math.nan
    is_known = unit == "%" or unit in SUFFIXES
    if not math.isfinite(value) or value <= 0 or not is_known:
        raise ConfigError(
            f"config.objective.{name}={size!r} must be a positive size: a number, one "
            "with k, M, G or B (1e3, 1e6, 1e9, 1e9) or with kB, MB or GB, such as "
            "'2M' or '1.5MB', or a part of the start, such as '40%'."
        )
    return value * start / 100 if unit == "%" else value * SUFFIXES[unit]
