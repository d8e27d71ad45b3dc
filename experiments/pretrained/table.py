"""Makes the README's tables and figure from results/*.json.

Run: python experiments/pretrained/table.py
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from figure import draw
from goals import kind_of, list_goals
from marks import write_marked

HERE = Path(__file__).parent
TEXTS = ("Persuasion", "standard library")
BUDGETS = ("90%", "80%", "70%")
BITS = (8.5, 4.5, 3.5, 2.7, 2.5)
SIZES = ("50", "35", "25")
WORDS = {
    "ours": "ours",
    "magnitude": "magnitude, all layers compared",
    "magnitude-alike": "magnitude, MLP units, layers alike",
    "wanda": "Wanda, all layers compared",
    "wanda-alike": "Wanda, MLP units, layers alike",
    "flap": "FLAP, with its biases",
    "layers": "whole layers, block influence",
    "torch-pruning": "Torch-Pruning, Taylor, MLP units, all layers compared",
    "torch-pruning-alike": "Torch-Pruning, Taylor, MLP units, layers alike",
    "nearest": "nearest, a step for 32 inputs",
    "nearest-min": "nearest, a step and a minimum for 64",
    "nearest-fitted": "the same, fitted, 32 inputs",
    "nearest-min-fitted": "the same, fitted, 64 inputs",
    "ours-whole": "ours, units at their whole price",
    "ours-alike": "ours, all matrices alike",
    "ours-sublayers": "ours, priced by sublayer",
    "llama.cpp-Q4_0": "llama.cpp, Q4_0",
    "llama.cpp-Q4_0-importance": "llama.cpp, Q4_0, importance matrix",
    "llama.cpp-IQ4_NL": "llama.cpp, IQ4_NL",
    "llama.cpp-IQ4_NL-importance": "llama.cpp, IQ4_NL, importance matrix",
    "alike": "units and bits in one pass, all matrices alike",
    "prune-round": "prune, then quantize",
    "round-prune": "quantize, then prune",
    "round": "quantize only",
}
SIZE_TABLES = {
    "sizes": (False, False),
    "sizes-rows": (True, False),
    "sizes-healed": (False, True),
    "sizes-rows-healed": (True, True),
}
"""Whether rows of the vocabulary are cut, and whether models are healed, by table."""

Result = dict


def main() -> None:
    """Writes all tables."""
    results = [json.loads(p.read_text()) for p in sorted(HERE.glob("results/*.json"))]
    parts = lambda name: [r for r in results if r.get("part") == name]
    write("original", list_original(results))
    write("structure", list_structure(parts("structure")))
    write("bits", list_bits(parts("bits")))
    for name, kind in SIZE_TABLES.items():
        write(name, list_sizes([r for r in parts("sizes") if kind_of(r)[:2] == kind]))
    write("vocabulary", list_vocabulary(parts("vocabulary")))
    write("decode", list_decode(parts("decode")))
    write("vectors", list_vectors(parts("vectors")))
    write("goals", list_goals(results))
    draw(results, WORDS, HERE / "frontier.png")


def write(name: str, lines: list[str]) -> None:
    """Writes lines into the page, between the marks of this name."""
    write_marked(HERE / "README.md", name, lines)


def list_original(results: list[Result]) -> list[str]:
    """Returns the table of the original's errors."""
    lines = row("text", "perplexity", "targets", "bits per byte"), "|---|---|---|---|"
    for result in results:
        if "sizes" in result:
            lines += tuple(
                row(
                    text,
                    f"{own['perplexity']:.2f}",
                    f"{own['num_targets']:,.0f}",
                    f"{own['bits_per_byte']:.3f}",
                )
                for text, own in result["errors"].items()
            )
    return list(lines)


def row(*cells: str) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(cells)} |"


def head(*cells: str, columns: Iterable[str]) -> list[str]:
    """Returns the head of a table with the same columns for each text."""
    names = [f"{text}, {column}" for text in TEXTS for column in columns]
    return [row(*cells, *names), "|---" * (len(cells) + len(names)) + "|"]


def ratios(found: dict, columns: Iterable) -> list[str]:
    """Returns how many times the original's perplexity each column has, by text."""
    cells = []
    for text in TEXTS:
        for column in columns:
            ratio = found[column]["errors"][text]["ratio"] if column in found else None
            shown = "" if ratio is None else f"{ratio:.3f}"
            cells.append(shown if len(shown) < 7 else f"{ratio:,.0f}")
    return cells


def gather(results: list[Result], keys: tuple[str, ...], column: str) -> dict:
    """Returns results by what their rows have in common, and by column."""
    found: dict = {}
    for result in results:
        key = tuple(result.get(name) for name in keys)
        found.setdefault(key, {})[result[column]] = result
    order = list(WORDS)
    return dict(sorted(found.items(), key=lambda p: (order.index(p[0][0]), str(p[0]))))


def list_structure(results: list[Result]) -> list[str]:
    """Returns the table of models with fewer parameters."""
    columns = [f"{100 - int(b.strip('%'))} % less" for b in BUDGETS]
    lines = head("method", "least squares", "calibration", columns=columns)
    keys = ("arm", "refit", "calibration", "multiple")
    for (arm, refit, calibration, _), found in gather(results, keys, "budget").items():
        cells = WORDS[arm], "yes" if refit else "no", describe(calibration)
        lines.append(row(*cells, *ratios(found, BUDGETS)))
    return lines


def describe(calibration: str) -> str:
    """Returns what was calibrated on.

    Examples:
        >>> describe("both-240-48")
        'novels and library, 240/48 rows each'
        >>> describe("novels-240-48-24")
        'novels, 240/48 rows, refit on 24'
    """
    text, rows, slopes, *few = calibration.split("-")
    words = {"novels": "novels", "both": "novels and library"}
    refit = f", refit on {few[0]}" if few else ""
    each = " each" if text == "both" else ""
    return f"{words[text]}, {rows}/{slopes} rows{each}{refit}"


def list_bits(results: list[Result]) -> list[str]:
    """Returns the table of models with fewer bits."""
    for result in results:
        result["column"] = min(BITS, key=lambda b: abs(b - result["bits"]))
    columns = [f"{bits} bits" for bits in BITS]
    lines = head("method", "rows of the refit", "MB", columns=columns)
    keys = "arm", "calibration"
    for (arm, rows), found in gather(results, keys, "column").items():
        sizes = [f"{found[b]['bytes'] / 1e6:.1f}" for b in BITS if b in found]
        refit = count_refit(rows) if arm.startswith("ours") else ""
        cells = WORDS[arm], refit, ", ".join(sizes)
        lines.append(row(*cells, *ratios(found, BITS)))
    return lines


def list_sizes(results: list[Result]) -> list[str]:
    """Returns the table of packed files, each method at its best bits."""
    columns = [f"{size} MB" for size in SIZES]
    lines = head("method", "rows of the refit", "bits", columns=columns)
    keys = "arm", "calibration"
    for (arm, rows), found in gather(best(results), keys, "megabytes").items():
        bits = [str(found[s]["bits"] or "priced") for s in SIZES if s in found]
        bits = bits[:1] if len(set(bits)) == 1 else bits
        cells = WORDS[arm], count_refit(rows), ", ".join(bits)
        lines.append(row(*cells, *ratios(found, SIZES)))
    return lines


def count_refit(calibration: str) -> str:
    """Returns on how many rows was refitted.

    Examples:
        >>> count_refit("novels-240-48"), count_refit("novels-240-48-24")
        ('240', '24')
    """
    _, rows, _, *few = calibration.split("-")
    return few[0] if few else rows


def list_vocabulary(results: list[Result]) -> list[str]:
    """Returns the table of models with fewer rows of the vocabulary, too."""
    names = [f"{text}, tokens" for text in TEXTS]
    lines = [row("parameters", "rows", "calibration", *TEXTS, *names), "|---" * 7 + "|"]
    for own in sorted(results, key=lambda r: (r["calibration"], -float(r["params"]))):
        rows = f"{own['rows_start']:,} -> {own['rows']:,}"
        cells = own["budget"], rows, describe(own["calibration"])
        errors = [f"{own['errors'][text]['ratio']:.3f}" for text in TEXTS]
        longer = [f"{own['tokens'][text]:.3f} x" for text in TEXTS]
        lines.append(row(*cells, *errors, *longer))
    return lines


def list_decode(results: list[Result]) -> list[str]:
    """Returns the table of speeds of writing."""
    names = "speed-up", "10th to 90th percentile", "bytes of a token", "machine"
    lines = [row("parameters", "weights", *names), "|---" * 6 + "|"]
    for own in sorted(results, key=lambda r: -float(r["params"])):
        for timed in own["timed"]:
            span = f"{timed['low']:.2f} to {timed['high']:.2f}"
            cells = f"{timed['ratio']:.2f}", span, f"{timed['bytes_ratio']:.2f} x fewer"
            lines.append(row(own["budget"], timed["weights"], *cells, own["machine"]))
    return lines


def best(results: list[Result]) -> list[Result]:
    """Returns the best result of each method at each size, on the first text."""
    error = lambda result: result["errors"][TEXTS[0]]["after"]
    found: dict[tuple[str, ...], Result] = {}
    for result in sorted(results, key=error):
        key = tuple(result[name] for name in ("arm", "calibration", "megabytes"))
        found.setdefault(key, result)
    return list(found.values())


def list_vectors(results: list[Result]) -> list[str]:
    """Returns the table of MiniLM and its smaller forms."""
    names = "cosine to the original", "MRR", "MB", "ms for a text"
    lines = [row("model", *names), "|---|---|---|---|---|"]
    for result in results:
        for name, own in result["arms"].items():
            size, time = f"{own['bytes'] / 1e6:.1f}", f"{own['seconds'] * 1e3:.1f}"
            cells = f"{own['cosine']:.4f}", f"{own['mrr']:.3f}", size, time
            lines.append(row(name, *cells))
    return lines


if __name__ == "__main__":
    main()
