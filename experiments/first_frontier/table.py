"""Prints the study's table into the README, and draws its figure.

Run: python experiments/first_frontier/table.py
"""

import itertools
import json
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib
import recipe
import single

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
HERE_IS = "<!-- {} -->\n", "<!-- end of {} -->"
ORDER = ("path", "taught", "scratch4", "scratch3", "scratch2", "scratch8")
ORDER += ("pruned4", "pruned4early", "concrete8", "scratch4late", "scratch3late")
SINGLE = ("path", "scratch4")


def main() -> None:
    results = [json.loads(p.read_text()) for p in sorted(HERE.glob("results/*.json"))]
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = replace_between(text, "table", make_table(results))
    text = replace_between(text, "single", make_single_table(results))
    readme.write_text(text, encoding="utf-8")
    draw(results, HERE / "frontier.png")


def replace_between(text: str, name: str, content: str) -> str:
    """Returns a text with other content between the marks of that name."""
    start, end = (mark.format(name) for mark in HERE_IS)
    before, rest = text.split(start)
    return before + start + content + end + rest.split(end)[1]


def make_table(results: list[dict]) -> str:
    """Returns one row a family, test bits per byte within each budget."""
    budgets = " | ".join(f"{budget / 1000:g} kB" for budget in recipe.BUDGETS)
    lines = [f"| family | seeds | TFLOP in all | {budgets} |"]
    lines.append("|" + "---|" * (3 + len(recipe.BUDGETS)))
    for family in ORDER:
        spent, errors = family_flops(family, results), errors_of(family, results)
        if not errors:
            continue
        cells = [format_error(errors.get(budget, [])) for budget in recipe.BUDGETS]
        seeds = max(len(found) for found in errors.values())
        row = [family, str(seeds), f"{statistics.mean(spent) / 1e12:.2f}", *cells]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def make_single_table(results: list[dict]) -> str:
    """Returns one row for each model of the smallest size, by regime."""
    lines = ["| regime | model | seeds | TFLOP | tokens per parameter | 10 kB |"]
    lines.append("|" + "---|" * 6)
    for regime, arm in itertools.product(single.REGIMES, SINGLE):
        found = [r for r in results if r["family"] == f"{regime}-{arm}"]
        if not found:
            continue
        mean = lambda value, runs=found: statistics.mean(map(value, runs))
        cells = [
            regime,
            arm,
            str(len(found)),
            f"{mean(lambda r: r['flops']) / 1e12:.2f}",
        ]
        cells.append(f"{mean(tokens_a_parameter):.0f}")
        cells.append(format_error([r["error"]["test_bits_per_byte"] for r in found]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tokens_a_parameter(result: dict) -> float:
    """Returns the tokens that the final model has seen in its shape, a weight."""
    return result["final_tokens"] / result["size"]["params"]


def errors_of(family: str, results: list[dict]) -> dict[int, list[float]]:
    """Returns the test errors of a family's finished models, by budget."""
    found = defaultdict(list)
    for result in _of_family(family, results):
        if result["budget"]:
            found[result["budget"]].append(result["error"]["test_bits_per_byte"])
    return found


def family_flops(family: str, results: list[dict]) -> list[float]:
    """Returns, for each seed, the training FLOPs of all runs of a family."""
    spent = defaultdict(float)
    for result in _of_family(family, results):
        spent[result["seed"]] += result["flops"]
    return list(spent.values())


def _of_family(family: str, results: list[dict]) -> list[dict]:
    """Returns a family's runs; taught shares the path's first two."""
    shared = ("path-trunk0", f"path-{recipe.BUDGETS[0]}")
    is_pilot = lambda result: result["name"].endswith("-pilot")
    if not any(result["family"] == family for result in results):
        return []
    return [
        result
        for result in results
        if not is_pilot(result)
        and (
            result["family"] == family
            or (family == "taught" and result["name"] in shared)
        )
    ]


def format_error(errors: list[float]) -> str:
    """Returns mean and spread, or the one figure there is."""
    if not errors:
        return "-"
    mean = f"{statistics.mean(errors):.3f}"
    return f"{mean} ± {statistics.stdev(errors):.3f}" if len(errors) > 1 else mean


def draw(results: list[dict], path: Path) -> None:
    """Draws error against bytes, one line a family."""
    figure, axes = plt.subplots(figsize=(7, 4.5), constrained_layout=True)
    for family in ORDER:
        errors = errors_of(family, results)
        if not errors:
            continue
        budgets = sorted(errors)
        means = [statistics.mean(errors[budget]) for budget in budgets]
        sizes = [budget / 1000 for budget in budgets]
        is_ours = family in ("path", "taught")
        axes.plot(
            sizes,
            means,
            marker="o",
            label=family,
            linewidth=2.5 if is_ours else 1.2,
            linestyle="-" if is_ours else "--",
        )
    axes.set_xlabel("packed file, kB")
    axes.set_ylabel("test bits per byte")
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, loc="outside right upper")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
