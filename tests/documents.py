"""Commands and programs that README and docs show."""

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        page: Its file.
        language: What follows the fence.
        text: The content.
    """

    page: str
    language: str
    text: str


def list_pages() -> list[Path]:
    """Returns the pages, in the order in which a reader meets them."""
    docs = sorted((ROOT / "docs").glob("*.md"), key=lambda p: (p.stem != "guide", p))
    return [ROOT / "README.md", *docs, ROOT / "CONTRIBUTING.md"]


def list_blocks() -> list[Block]:
    """Returns the fenced blocks of all pages."""
    fenced = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    return [
        Block(page.name, language, text)
        for page in list_pages()
        for language, text in fenced.findall(page.read_text(encoding="utf-8"))
    ]


def list_commands(block: Block) -> list[list[str]]:
    """Returns the words of each command of a block, without comments.

    Examples:
        >>> list_commands(Block("a.md", "bash", "make x  # y"))
        [['make', 'x']]
    """
    if block.language not in ("bash", "sh", "console"):
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [command for command in words if command]


def list_shown_commands() -> list[tuple[str, list[str]]]:
    """Returns commands of slimjax in blocks of plain text, with their page.

    They name files of the reader, so they cannot be run as they are.
    """
    blocks = [block for block in list_blocks() if block.language == "text"]
    return [
        (block.page, words)
        for block in blocks
        for words in _find_commands(block.text.replace("\\\n", " "))
    ]


def list_recipe_commands() -> list[tuple[str, list[str]]]:
    """Returns commands of slimjax in the docstrings of recipes, with their file."""
    return [
        (path.name, words)
        for path in sorted((ROOT / "configs").glob("*.py"))
        for words in _find_commands(
            ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        )
    ]


def _find_commands(text: str) -> list[list[str]]:
    """Returns the words of each command that a line begins with.

    A word and a colon may stand before it.

    Examples:
        >>> _find_commands("Run: slimjax train --a='b c'")
        [['slimjax', 'train', '--a=b c']]
    """
    lines = re.findall(r"(?m)^(?:[\w -]+:)? *(slimjax .*)$", text)
    return [shlex.split(line, comments=True) for line in lines]


def list_inline_commands() -> list[tuple[str, list[str]]]:
    """Returns commands within sentences and tables, with their page."""
    found = []
    for page in list_pages():
        for text in re.findall(r"`(slimjax [^`]+)`", page.read_text(encoding="utf-8")):
            found.append((page.name, text.replace("\\|", "|").split()))
    return found
