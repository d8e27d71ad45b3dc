"""The table of slim.py's rows: what is left of the headline, at which size and cost."""

from shown import STUDIES, spread, value

HEAD = """| study | row | seeds | steps | training TFLOP | bytes | headline | drop |
|---|---|---|---|---|---|---|---|"""
BASE = {"movie": "dense", "r8": "longer", "ner-zh": "gru-below", "translate": "dense"}
"""The arm of each study that is slimmed."""

ROWS = ("slim50", "fresh50", "fresh50=", "slim25", "fresh25", "fresh25=", "taught25")
CELLS = ("attention", "gru", "lstm")


def list_slim(arms: dict[tuple[str, str], dict[int, dict]]) -> list[str]:
    """Returns the rows of each study; drops are taken seed by seed."""
    lines = [HEAD]
    for study, base in BASE.items():
        found = {row: arms.get((study, row), {}) for row in (base, *ROWS)}
        if any(found[row] for row in ROWS):
            lines += [
                _describe(study, row, runs, found[base])
                for row, runs in found.items()
                if runs
            ]
    cells = {row: arms.get(("translate", row), {}) for row in CELLS}
    lines += [_describe("translate", row, r, {}) for row, r in cells.items() if r]
    return lines if len(lines) > 1 else []


def _describe(study: str, row: str, runs: dict[int, dict], dense: dict) -> str:
    key = STUDIES[study][0]
    flops = [run["train"]["flops_total"] / 1e12 for run in runs.values()]
    left = [run["size"]["bytes"] for run in runs.values()]
    steps = [run["train"]["steps"] for run in runs.values()]
    mean = lambda values: sum(values) / len(values)
    cells = [study, f"`{row}`", str(len(runs)), f"{mean(steps):,.0f}"]
    cells += [f"{mean(flops):.1f}", f"{mean(left) / 1e6:.2f} MB"]
    cells += [spread([value(run, key) for run in runs.values()], key)]
    shared = sorted(runs.keys() & dense.keys())
    drops = [value(dense[s], key) - value(runs[s], key) for s in shared]
    is_base = row == BASE[study]
    cells += [spread(drops, key) if drops and not is_base else ""]
    return f"| {' | '.join(cells)} |"
