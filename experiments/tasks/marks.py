"""Writes tables into a page, between marks."""

from pathlib import Path


def write_marked(page: Path, name: str, lines: list[str]) -> None:
    """Writes lines between the marks of this name, and prints them."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    old = page.read_text()
    before, after = old.split(begin)[0], old.split(end)[1]
    text = "\n".join(lines).strip()
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    print(text)
