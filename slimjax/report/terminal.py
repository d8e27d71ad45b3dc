"""Lines and tables for a terminal, or for a file that its output goes to.

On a terminal, long lines wrap. In a pipe or a file nothing wraps: there a line stays a
line, and a table is as wide as it needs. Characters that the stream cannot encode are
written as escapes, so that no name and no sample ends a command.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100_000  # Characters; no table in a pipe is wider.


def print_line(
    console: "Console", text: str, *, style: str = "", end: str = "\n"
) -> None:
    """Prints a text as it is, without markup.

    Args:
        console: Where to print.
        text: The text; it may have several lines.
        style: A style of rich, such as ``bold``.
        end: What follows the text.
    """
    from rich.text import Text

    shown = Text(encodable(text, console), style=style)
    console.print(shown, soft_wrap=not console.is_terminal, end=end)


def print_cells(
    console: "Console",
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
) -> None:
    """Prints a table: words to the left, numbers to the right."""
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    if title:
        print_line(console, title, style="italic")
    table = Table(header_style="bold")
    for index, head in enumerate(heads):
        justify = "right" if index else "left"
        table.add_column(Text(encodable(head, console)), justify=justify)
    for row in rows:
        table.add_row(*(Text(encodable(cell, console)) for cell in row))
    usual = console.width
    if not console.is_terminal:
        wide = console.options.update(max_width=WIDEST)
        console.width = max(usual, Measurement.get(console, wide, table).maximum)
    console.print(table)
    console.width = usual


def encodable(text: str, console: "Console") -> str:
    r"""Returns a text in which characters that a console cannot encode are escapes.

    Examples:
        >>> import io
        >>> from rich.console import Console
        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        >>> print(encodable("caf\u00e9", Console(file=stream)))
        caf\xe9
    """
    encoding = console.encoding
    return text.encode(encoding, "backslashreplace").decode(encoding)
