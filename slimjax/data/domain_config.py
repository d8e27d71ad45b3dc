"""The settings of data that come from several domains."""

import dataclasses
import math
import re
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.text.files import show
from slimjax.text.sources import parse_sources, split_names

MOST_DOMAINS = 256
NAME = re.compile(r"[\w-]{1,64}")
NO_SOURCE = ("stdlib", "")
"""Values of ``config.data.source`` beside sources of domains: none was chosen."""

PLAIN: dict[str, Any] = {"domains": {}, "domain_weights": {}, "temperature": 1.0}
"""Values of the settings where no domain has a source of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainSettings:
    """Which domains labelled examples come from, and how often each is drawn.

    Attributes:
        domains: A source for each domain, such as ``{"movie": "jsonl:movie.jsonl",
            "shop": "csv:shop.csv"}``, in place of ``source``. Examples of other sources
            name theirs in a field ``domain``.
        domain_weights: How often training draws a row of each domain, such as
            ``{"movie": 1, "shop": 3}``; by default as many times as it has rows. Only
            the ratio counts.
        temperature: T of the shares of domains, which are proportional to
            ``weight ** (1 / T)``: 1 keeps the weights, a large T makes all shares
            equal.
    """

    domains: dict = dataclasses.field(default_factory=dict)
    domain_weights: dict = dataclasses.field(default_factory=dict)
    temperature: float = 1.0

    @property
    def is_mixed(self) -> bool:
        """Whether domains are drawn in another proportion than that of their rows."""
        return bool(self.domain_weights) or self.temperature != 1.0

    def take_domains(self, source: Any) -> Any:
        """Returns the sources of all domains, or `source` if there is no domain.

        Raises:
            ConfigError: If a setting of domains is invalid.
        """
        self._check_weights()
        if not self.domains:
            self._check_alone()
            return source
        if len(self.domains) > MOST_DOMAINS:
            raise ConfigError(
                f"config.data.domains has {len(self.domains)} domains; {MOST_DOMAINS} "
                "are the most."
            )
        own = [name for domain in self.domains for name in self._sources(domain)]
        if source not in NO_SOURCE and [*source] != own:
            raise ConfigError(
                f"config.data.source={show(source)} and config.data.domains both name "
                "examples. Leave one of them out."
            )
        return tuple(own)

    def _sources(self, domain: Any) -> list[str]:
        """Returns the sources of one domain."""
        if not isinstance(domain, str) or not NAME.fullmatch(domain):
            raise ConfigError(
                f"config.data.domains: {show(domain)} is not a name. Use letters, "
                "digits, _ and -, 64 at most."
            )
        names, where = self.domains[domain], name_source(domain)
        parse_sources(names, where)
        return split_names(names, where)

    def _check_alone(self) -> None:
        for name in ("domain_weights", "temperature"):
            value = getattr(self, name)
            if value not in ({}, 1.0):
                raise ConfigError(
                    f"config.data.{name}={show(value)} is for several domains. Set "
                    "config.data.domains, or leave it out."
                )

    def _check_weights(self) -> None:
        where = "config.data.domain_weights"
        for name, weight in self.domain_weights.items():
            if self.domains and name not in self.domains:
                hint = suggest(str(name), self.domains)
                raise ConfigError(f"{where}: {show(name)} is not a domain. {hint}")
            if not _is_number(weight) or weight < 0:
                raise ConfigError(
                    f"{where}: {name}={show(weight)} must be a number of 0 or more."
                )
        missing = [name for name in self.domains if name not in self.domain_weights]
        if self.domain_weights and missing:
            raise ConfigError(
                f"{where} has no weight of {show(missing[0])}. Set one for each domain."
            )
        if self.domain_weights and not any(self.domain_weights.values()):
            raise ConfigError(f"{where}: all weights are 0. Set one above 0.")
        if not _is_number(self.temperature) or self.temperature <= 0:
            raise ConfigError(
                f"config.data.temperature={show(self.temperature)} must be a number "
                "above 0, such as 2."
            )


def name_source(domain: str) -> str:
    """Returns the setting of a domain's source, for messages."""
    return f"config.data.domains.{domain}"


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    return is_plain and math.isfinite(value)
