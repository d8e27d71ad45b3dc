"""Domains: their names, which belong to the model, and the number of each row's domain.

The names are kept as ``domains.json``. A row of none of them has the number -1.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimjax.data.cache import hash_json
from slimjax.data.config import DataConfig
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.outline import DOMAIN, Codec
from slimjax.data.stored import load_stored
from slimjax.errors import ConfigError, suggest
from slimjax.text.examples import Example
from slimjax.text.fields import Column, choose_columns
from slimjax.text.files import show

DOMAINS_FILE = "domains.json"
NONE = -1
"""Number of a row of no domain."""


@dataclasses.dataclass(frozen=True)
class Domains:
    """Names of domains, in the order of their numbers."""

    names: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for equal names in the same order."""
        return hash_json(self.names)

    def encode(self, name: str) -> int:
        """Returns the number of a domain, below 0 for a name that is none.

        Examples:
            >>> [Domains(("movie", "shop")).encode(name) for name in ("shop", "", "x")]
            [1, -1, -1]
        """
        return self.names.index(name) if name in self.names else NONE

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``domains.json`` into `folder`, which exists."""
        path = os.path.join(folder, DOMAINS_FILE)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "domains": self.names}, file, indent=1)


def load_domains(folder: str | os.PathLike[str]) -> Domains:
    """Loads what `Domains.save` wrote into `folder`.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """

    def make(content: Any) -> Domains:
        names = content["domains"]
        if not isinstance(names, list) or not all(type(n) is str for n in names):
            raise ValueError("it lists no names")
        if not names or len(set(names)) < len(names):
            raise ValueError("it names a domain twice, or none")
        return Domains(tuple(names))

    return load_stored(folder, DOMAINS_FILE, make)


def find_domains(config: DataConfig, codecs: Mapping[str, Codec]) -> Domains | None:
    """Returns the domains of a model, or else those of the config; None without any.

    Raises:
        ConfigError: If the config names a domain that the model does not have.
    """
    known = codecs.get(DOMAIN)
    if not isinstance(known, Domains):
        return Domains(tuple(sorted(config.domains))) if config.domains else None
    for name in config.domains:
        if name not in known.names:
            hint = suggest(name, known.names)
            raise ConfigError(
                f"config.data.domains: the model has no domain {show(name)}. {hint}"
            )
    return known


def names_of(codecs: Mapping[str, Codec]) -> tuple[str, ...]:
    """Returns the names of the domains of a model; none without any."""
    known = codecs.get(DOMAIN)
    return known.names if isinstance(known, Domains) else ()


def choose_all_columns(
    kinds: Mapping[str, str],
    fields: Mapping[str, Any],
    *,
    header: bool,
    has_domains: bool,
) -> list[Column]:
    """Returns where files hold the values of a task, and maybe an example's domain.

    Each example may lack a domain, whether others have one or not.

    Args:
        kinds: Names and kinds of the values.
        fields: ``config.data.fields``, of these values and of the domain.
        header: Whether tables name their columns.
        has_domains: Whether the domain is read.
    """
    own = {**kinds, DOMAIN: "domain?"} if has_domains else kinds
    given = {name: key for name, key in fields.items() if name in own}
    columns = choose_columns(own, given, header=header)
    return [
        dataclasses.replace(c, is_optional=True) if c.name == DOMAIN else c
        for c in columns
    ]


def in_domain(example: Example, domain: str) -> Example:
    """Returns an example of a domain's own source."""
    return dataclasses.replace(example, values={**example.values, DOMAIN: domain})


def prepare_domain(
    domains: Domains, splits: Mapping[str, Sequence[Example]]
) -> Prepared:
    """Returns the column of domains, whose array is an int32 number.

    Args:
        domains: Their names.
        splits: The examples of each split, for a note.
    """

    def encode(examples: list[Example]) -> Encoded:
        numbers = [
            domains.encode(example.values.get(DOMAIN, "")) for example in examples
        ]
        return Encoded({DOMAIN: np.array(numbers, np.int32)})

    return Prepared(
        DOMAIN,
        {DOMAIN: Field((), "int32", (), fill=NONE)},
        encode,
        ["domains", domains.fingerprint],
        codecs={DOMAIN: domains},
        note=_note(domains, splits),
    )


def _note(domains: Domains, splits: Mapping[str, Sequence[Example]]) -> str:
    """Returns how many examples each domain has, or "" without examples."""
    parts = []
    for split, examples in splits.items():
        counts = Counter(domains.encode(e.values.get(DOMAIN, "")) for e in examples)
        named = [(name, counts[i]) for i, name in enumerate(domains.names)]
        shown = [f"{name} {number:,}" for name, number in named if number]
        shown += [f"none {counts[NONE]:,}"] if counts[NONE] else []
        parts += [f"{split} {', '.join(shown)}"] if shown else []
    return f"Examples by domain: {'; '.join(parts)}." if parts else ""
