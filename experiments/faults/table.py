"""Writes the table of the README from the results."""

import json
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def write_table(names: list[str]) -> None:
    """Puts a row for each fault with results between the markers of the README."""
    lines = ["| fault | cases | held | must hold | worst | commit |", "|---" * 6 + "|"]
    for name in names:
        path = HERE / "results" / f"{name}.json"
        if path.is_file():
            lines.append(_row(json.loads(path.read_text())))
    page = (HERE / "README.md").read_text()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    table = "\n".join(lines)
    (HERE / "README.md").write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")


def _row(result: dict) -> str:
    worst = "; ".join(f"{v:.3g} {k}" for k, v in result["worst"].items())
    cases = f"{result['tried']} of {result['long_form']}"
    held = f"{result['held']}"
    commits = ", ".join(code[:7] for code, count in result["codes"].items() if count)
    told = (result["title"], cases, held, result["must"], worst, commits)
    return f"| {' | '.join(told)} |"
