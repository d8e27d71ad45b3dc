"""Flags of a command: ``--name=value`` with underscores; a mistake is one line."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from slimjax.errors import ConfigError, suggest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError` with the first line of the message."""
        raise ConfigError(f"{self.prog}: {message}. See {self.prog} --help.")


def make_parser(command: str, about: str, example: str) -> Parser:
    """Returns a parser with ``--json`` and ``--help``, which shows an example."""
    parser = Parser(
        prog=f"slimjax {command}",
        description=about,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--json", action="store_true", help="end stdout with one JSON object"
    )
    return parser


def add_config(parser: Parser) -> None:
    """Adds ``--config``."""
    parser.add_argument(
        "--config",
        required=True,
        help="a config file, or the name of a recipe",
    )


@dataclasses.dataclass(frozen=True)
class Parsed:
    """Values of flags, and the overrides ``("a.b", "value")`` of the config."""

    flags: Any
    overrides: list[tuple[str, str]]


def parse(parser: Parser, argv: Sequence[str], *, config: bool = False) -> Parsed:
    """Returns the flags of a command line.

    Raises:
        ConfigError: For an unknown or incomplete flag; offers the nearest one.
    """
    own, overrides = [], []
    for argument in argv:
        if config and argument.startswith("--config."):
            name, equals, value = argument.removeprefix("--config.").partition("=")
            if not equals or not name:
                raise ConfigError(f"{argument} needs a value: {argument}=VALUE.")
            overrides.append((name, value))
        else:
            own.append(argument)
    flags, unknown = parser.parse_known_args(own)
    if unknown:
        known = [s for s in parser._option_string_actions if s.startswith("--")]
        name = unknown[0].split("=")[0]
        raise ConfigError(f"{unknown[0]} is not a flag. {suggest(name, known)}")
    return Parsed(flags, overrides)


def print_json(value: Any) -> None:
    """Prints one JSON object as the last line of stdout."""
    import json

    from slimjax.store.files import finite

    text = json.dumps(finite(value), ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(finite(value))  # All ASCII: escapes that every parser takes.
    sys.stdout.write(text + "\n")
