"""Where files hold what a task reads: its names, and those of the fields of a file."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.text.files import show
from slimjax.text.kinds import OPTIONAL, Keys, find_kind
from slimjax.text.sources import Source
from slimjax.text.words import split_text

MAIN_TEXTS = ("text", "document")
"""Names of the text that an example is about, where it has others as well."""


@dataclasses.dataclass(frozen=True)
class Column:
    """Where files hold one of the values that a task reads.

    Attributes:
        name: The task's name.
        kind: A name of `slimjax.text.kinds.KINDS`.
        keys: Names in a record, or places in a row of a table, counted from 0.
        is_optional: Whether an example may lack it.
    """

    name: str
    kind: str
    keys: Keys
    is_optional: bool = False

    @property
    def is_target(self) -> bool:
        """Whether it is an answer, which prediction lacks."""
        return find_kind(self.kind).is_target


def choose_columns(
    kinds: Mapping[str, str], fields: Mapping[str, Any], *, header: bool
) -> list[Column]:
    """Returns where the values that a task reads stand in the files.

    Args:
        kinds: What the task reads: names and kinds. A kind that ends in ``?`` is
            optional, unless `fields` has its name.
        fields: ``config.data.fields``; a name that is missing stands for itself.
        header: Whether tables name their columns.

    Raises:
        ConfigError: If a name is not one of the task's, or if a place is missing.

    Examples:
        >>> kinds = {"features": "features", "label": "label"}
        >>> columns = choose_columns(
        ...     kinds, {"features": "0:3", "label": 3}, header=False
        ... )
        >>> [(column.name, column.keys) for column in columns]
        [('features', (0, 1, 2)), ('label', (3,))]
    """
    check_names(kinds, fields)
    where, columns = f"config.data.fields={show(dict(fields))}", []
    for name, kind in kinds.items():
        is_optional = kind.endswith(OPTIONAL) and name not in fields
        if is_optional and not header:
            continue
        keys = _to_keys(fields.get(name, name), where)
        if not find_kind(kind).joins_fields and len(keys) != 1:
            raise ConfigError(f"{where}: {name} is one field, not {len(keys)}.")
        if not header and not all(isinstance(key, int) for key in keys):
            raise ConfigError(
                f"{where}: without a header, columns are numbers. Set the column of "
                f'{name}, such as {{"{name}": 0}}.'
            )
        columns.append(Column(name, kind.removesuffix(OPTIONAL), keys, is_optional))
    return columns


def check_names(names: Iterable[str], fields: Mapping[str, Any]) -> None:
    """Refuses ``config.data.fields`` where it has other names than those of a task.

    Raises:
        ConfigError: With the nearest name.
    """
    for name in fields:
        if name not in (known := list(names)):
            where = f"config.data.fields={show(dict(fields))}"
            hint = suggest(str(name), known)
            raise ConfigError(f"{where}: this task reads no {show(name)}. {hint}")


def choose_text_column(columns: list[Column]) -> Column | None:
    """Returns the column that a plain text stands for, if there is just one."""
    needed = [column for column in columns if not column.is_optional]
    is_text = len(needed) == 1 and needed[0].kind in ("text", "tokens")
    return needed[0] if is_text else None


def value_of_text(column: Column, text: str) -> Any:
    """Returns what a plain text is in a record: itself, or its words."""
    if column.kind == "text":
        return text
    return [word.strip() for word in split_text(text).texts]


def with_field(columns: Sequence[Column], source: Source) -> list[Column]:
    """Returns the columns, the main text being where ``#field`` of the source says.

    Raises:
        ConfigError: If there is such a field, and no single text that it may name.
    """
    if not source.field:
        return list(columns)
    main = _find_main(columns)
    if main is None:
        name = f"{source.scheme}:{source.pattern}#{source.field}"
        raise ConfigError(
            f"{show(name)}: #{show(source.field)} names a text; this task reads "
            f"{', '.join(c.name for c in columns)}. Leave it out, and set "
            "config.data.fields."
        )
    named = dataclasses.replace(main, keys=(source.field,), is_optional=False)
    return [named if column is main else column for column in columns]


def _find_main(columns: Sequence[Column]) -> Column | None:
    """Returns the column of the text that an example is about, if it is about one."""
    texts = [c for c in columns if c.kind == "text"]
    needed = [c for c in texts if not c.is_optional]
    named = [c for c in texts if c.name in MAIN_TEXTS]
    parts = [c for c in columns if c.kind in ("tokens", "sentences") and not texts]
    single = (found[0] for found in (texts, needed, named, parts) if len(found) == 1)
    return next(single, None)


def _to_keys(value: Any, where: str) -> Keys:
    """Returns the names or places that a value of ``config.data.fields`` means."""
    if isinstance(value, list | tuple) and value:
        return tuple(key for part in value for key in _to_keys(part, where))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return (value,)
    if isinstance(value, str) and value:
        first, colon, last = value.partition(":")
        if colon and first.isdecimal() and last.isdecimal() and int(first) < int(last):
            return tuple(range(int(first), int(last)))
        return (int(value),) if value.isdecimal() else (value,)
    raise ConfigError(f'{where}: {show(value)} must be a name, a number or "0:784".')
