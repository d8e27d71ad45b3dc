"""Writes ``docs/settings.md`` from the dataclasses that check a config.

Run: python docs/make_settings.py (or ``make docs``).

The name, type and default of a setting are those of its field; its meaning is its entry
under ``Attributes`` in the docstring of the dataclass. Nothing is written twice, and a
test compares the page with what this script returns.
"""

import dataclasses
import inspect
import re
import types
import typing
from pathlib import Path
from typing import Any

from slimjax.train.config import RunConfig, make_run_config

PAGE = Path(__file__).with_name("settings.md")
KINDS = {int: "integer", float: "number", str: "text", bool: "true or false"}
HEADING = """\
# Settings

Every setting of a config, with its type, its default and its meaning. This page is
generated from the code by `make docs`; a test compares the two.

A config is a set of blocks of plain values. A config file sets values by name, and
the command line overrides them:

```text
--config.BLOCK.NAME=VALUE      such as --config.data.seq_len=256
```

Values on the command line are JSON; a bare word is a text. Lists are written as
`'[16,8,4]'`, mappings as `'{"bytes":"2M"}'`, an empty text as nothing after the `=`. In
`slimjax.fit` the same names are keys of nested dicts. An unknown name or an invalid
value ends the command with one line and exit code 2.

Only `mesh.*`, `train.eval_every_steps`, `train.eval_rows`, `train.save_every_steps`,
`train.keep_*`, `train.log_every_steps`, `train.profile_steps`, `distill.cache_limit_mb`
and `decode.*` may change when an interrupted run continues. With `train.patience` the
two `train.eval_*` may not, because evaluations decide when the run ends.
"""


def read_attributes(docstring: str) -> dict[str, str]:
    """Returns the entries under ``Attributes`` of a Google docstring, by name."""
    lines = inspect.cleandoc(docstring).splitlines()
    if "Attributes:" not in lines:
        return {}
    entries: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Attributes:") + 1 :]:
        if line and not line.startswith(" "):
            break  # The next section.
        if begin := re.match(r" {4}(\w+): (.*)", line):
            name, entries[begin[1]] = begin[1], begin[2]
        elif line.strip():
            entries[name] += " " + line.strip()
    return entries


def describe_type(kind: Any) -> str:
    """Returns a type as a reader of a config would call it.

    Examples:
        >>> describe_type(tuple[int, ...]), describe_type(float | str)
        ('list of integers', 'number or text')
    """
    if kind in KINDS:
        return KINDS[kind]
    if typing.get_origin(kind) is tuple:
        return f"list of {KINDS[typing.get_args(kind)[0]]}s"
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = [k for k in typing.get_args(kind) if k is not types.NoneType]
        return " or ".join(dict.fromkeys(map(describe_type, parts)))
    return "mapping" if (typing.get_origin(kind) or kind) is dict else kind.__name__


def describe_default(value: Any) -> str:
    """Returns a default as it would be written in a config."""
    if value in ("", None) or value == () or value == {}:
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def make_table(block: Any) -> list[str]:
    """Returns the lines of the table of a block, which has its default values."""
    hints, meanings = typing.get_type_hints(type(block)), {}
    for kind in reversed(type(block).__mro__[:-1]):  # Some settings are inherited.
        meanings |= read_attributes(kind.__doc__ or "")
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(block):
        value = getattr(block, field.name)
        if dataclasses.is_dataclass(value) or not field.metadata.get("setting", True):
            continue
        cells = [
            f"`{field.name}`",
            describe_type(hints[field.name]),
            describe_default(value),
            meanings[field.name].replace("``", "`").replace("|", "\\|"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def make_page() -> str:
    """Returns the content of the page."""
    run: RunConfig = make_run_config({})
    parts = [HEADING, "## The root\n", "\n".join(make_table(run)) + "\n"]
    for field in dataclasses.fields(run):
        block = getattr(run, field.name)
        if dataclasses.is_dataclass(block):
            about = inspect.cleandoc(block.__doc__ or "").splitlines()[0]
            parts += [f"## config.{field.name}\n", about.replace("``", "`") + "\n"]
            parts.append("\n".join(make_table(block)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
