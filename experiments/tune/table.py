"""Writes the study's tables into the README.

Run: python experiments/tune/table.py
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START, END = "<!-- {} -->\n", "<!-- end of {} -->"


def main() -> None:
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        text = replace_between(text, name, make())
    readme.write_text(text, encoding="utf-8")


def replace_between(text: str, name: str, content: str) -> str:
    """Returns a text with other content between the marks of that name."""
    before, rest = text.split(START.format(name))
    after = rest.split(END.format(name))[1]
    return before + START.format(name) + content + END.format(name) + after


def read(pattern: str) -> list[dict[str, Any]]:
    """Returns the results whose files have such a name."""
    paths = sorted(HERE.glob(f"results/{pattern}.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def corpora() -> list[dict[str, Any]]:
    """Returns the results of the corpora."""
    return [result for result in read("*") if "rules" in result]


def write(heads: list[str], rows: list[list[str]]) -> str:
    """Returns a table; one line in its place where there are no rows."""
    if not rows:
        return "Not run yet.\n"
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def cost_table() -> str:
    heads = ["corpus", "dense runs a fold", "wall clock, by dense training"]
    heads += ["farthest below its size"]
    rows = []
    for result in corpora():
        spent = ", ".join(f"{each:.3f}" for each in result["spent_in_runs"])
        missed = max(
            1 - size / point["budget"]
            for point in result["points"]
            for size in point["sizes"]
        )
        ratio = f"{result['time']['ratio']:.2f}"
        rows.append([result["corpus"], spent, ratio, f"{100 * missed:.2f} %"])
    return write(heads, rows)


def fresh_table() -> str:
    heads = ["corpus", "mean gain, bits per byte", "better at"]
    heads += ["hypervolume, path", "hypervolume, fresh"]
    rows = []
    for result in corpora():
        fresh = result["fresh"]
        if fresh:
            row = [result["corpus"], f"{fresh['mean_gain']:+.3f}"]
            row += [f"{fresh['better']} of {fresh['of']}"]
            row += [f"{fresh[f'hypervolume_{side}']:.4f}" for side in ("path", "fresh")]
            rows.append(row)
    return write(heads, rows)


def nested_table() -> str:
    heads = ["corpus", "hypervolume, path", "hypervolume, nested"]
    rows = [
        [each["corpus"]]
        + [f"{each[f'hypervolume_{side}']:.4f}" for side in ("path", "nested")]
        for each in read("*-nested")
    ]
    return write(heads, rows)


def class_table() -> str:
    heads = ["task", "rule", "chooses", "end of the path", "above the best, test"]
    rows = []
    for result in read("*-classes"):
        rows += [[result["task"], *describe(result["chosen"])]]
        rows += [[result["task"], *describe(rule)] for rule in result["prices"]]
    return write(heads, rows)


def describe(rule: dict[str, Any]) -> list[str]:
    """Returns the cells of one rule."""
    end = "yes" if rule["is_end"] else "no"
    above = "chosen at no price"
    if rule["above_best"] is not None:
        above = f"{100 * rule['above_best']:.2f} %"
    return [f"`{rule['rule']}`", rule["chosen"], end, above]


def rule_table() -> str:
    heads = ["corpus", "rule", "chooses", "end of the path", "above the best, test"]
    rows = [
        [result["corpus"], *describe(rule)]
        for result in corpora()
        for rule in result["rules"]
    ]
    return write(heads, rows)


def interval_table() -> str:
    heads = ["neighbours", "mean difference, nats", "in intervals", "mean half-width"]
    rows = [
        [
            f"points {place + 1} and {place}",
            f"{pair['mean_difference']:.4f}",
            f"{pair['inside']} of {pair['of']}",
            f"{pair['mean_half_width']:.4f}",
        ]
        for result in read("intervals")
        for place, pair in enumerate(result["pairs"])
    ]
    return write(heads, rows)


def kill_table() -> str:
    rows = [[str(r["kills"]), "yes" if r["same"] else "no"] for r in read("kills")]
    return write(["kills", "same tune.json"], rows)


TABLES = {
    "cost": cost_table,
    "fresh": fresh_table,
    "nested": nested_table,
    "rules": rule_table,
    "classes": class_table,
    "intervals": interval_table,
    "kills": kill_table,
}

if __name__ == "__main__":
    main()
