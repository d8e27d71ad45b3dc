"""Short conversations in English, from a package of lists in files of YAML.

The files are lists of lists of texts, which is all that is read here: ``- - `` begins a
conversation, ``  - `` goes on. Conversations with code, in blocks, are left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROLES = "user", "assistant"
FIRST, NEXT, MORE = "- - ", "  - ", "    "
LONGEST = 200
"""Characters of a message that is kept."""


def read_chats(folder: Path) -> list[Row]:
    """Returns an example for each answer, with all that was said before it."""
    rows = {}
    for path in sorted(folder.glob("chatterbot_corpus/data/english/*.yml")):
        for texts in _conversations(path.read_text("utf-8").split("\n")):
            messages = [
                {"role": ROLES[i % 2], "content": text} for i, text in enumerate(texts)
            ]
            for end in range(2, len(texts) + 1, 2):
                past = "\n".join(texts[: end - 1])
                rows[past, texts[end - 1]] = messages[:end]
    return [{"past": past, "messages": own} for (past, _), own in rows.items()]


def _conversations(lines: list[str]) -> Iterator[list[str]]:
    """Yields the texts of each conversation, up to the first one that is not kept."""
    texts: list[str] = []
    for line in [*lines, FIRST]:
        if line.startswith(FIRST):
            yield list(_keep(texts))
            texts = [line.removeprefix(FIRST)]
        elif line.startswith(NEXT) and texts:
            texts.append(line.removeprefix(NEXT))
        elif line.startswith(MORE) and texts:
            texts[-1] += f" {line.strip()}"


def _keep(texts: list[str]) -> Iterator[str]:
    for text in map(_plain, texts):
        if not text or len(text) > LONGEST or text[0] in "|>":
            return
        yield text


def _plain(text: str) -> str:
    """Returns a text without the quotation marks around it.

    Examples:
        >>> _plain(" 'It''s me.' ")
        "It's me."
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        mark, text = text[0], text[1:-1]
        return text.replace("''", "'") if mark == "'" else text.replace('\\"', '"')
    return text
