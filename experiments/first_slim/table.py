"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/first_slim/table.py
"""

import json
import math
import os
from collections import defaultdict
from pathlib import Path

HERE = Path(os.path.relpath(Path(__file__).parent))
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
RATE = 3e-3
ORDER = ("dense", "slim49", "scratch49", "slim30", "scratch30")
ORDER += ("slim49+teacher", "scratch49+teacher")
ORDER += ("dense=", "scratch49=", "scratch30=")
HEAD = """| arm | seeds | steps | training TFLOP | parameters | valid bits a byte | \
test bits a byte |
|---|---|---|---|---|---|---|"""


def main() -> None:
    results = [
        json.loads(p.read_text()) for p in sorted(HERE.glob("results/*-lr*.json"))
    ]
    arms = defaultdict(list)
    for result in results:
        if result["learning_rate"] == RATE:
            arms[result["arm"]].append(result)
    rows = [describe(arm, arms[arm]) for arm in ORDER if arm in arms]
    pairs = [(a, b) for a, b in PAIRS if a in arms and b in arms]
    lines = [HEAD, *rows, "", *(compare(a, b, arms) for a, b in pairs)]
    other = [r for r in results if r["learning_rate"] != RATE]
    lines += ["", *(sensitivity(r, arms) for r in other if r["arm"] in arms)]
    page = (HERE / "README.md").read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    text = "\n".join(lines).strip()
    (HERE / "README.md").write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    print(text)


PAIRS = (("slim49", "dense"), ("slim49", "scratch49"), ("slim30", "scratch30"))
PAIRS += (("slim49+teacher", "scratch49"), ("slim49+teacher", "scratch49+teacher"))
PAIRS += (
    ("slim49+teacher", "dense"),
    ("slim49", "dense="),
    ("slim49", "scratch49="),
    ("slim30", "scratch30="),
)


def describe(arm: str, results: list[dict]) -> str:
    """Returns an arm's row: means over seeds, and standard deviations of bits."""
    mean = lambda block, key: sum(r[block][key] for r in results) / len(results)
    bits = [spread([r["error"][f"{s}_bits_per_byte"] for r in results]) for s in SPLITS]
    return (
        f"| {arm} | {len(results)} | {mean('train', 'steps'):.0f} "
        f"| {mean('train', 'flops_total') / 1e12:.1f} "
        f"| {mean('size', 'params') / 1e6:.2f} M | {bits[0]} | {bits[1]} |"
    )


SPLITS = ("valid", "test")


def compare(one: str, other: str, arms: dict[str, list[dict]]) -> str:
    """Returns the difference of two arms over the seeds that both have."""
    by_seed = {r["seed"]: r["error"]["test_bits_per_byte"] for r in arms[other]}
    differences = [
        r["error"]["test_bits_per_byte"] / by_seed[r["seed"]] - 1
        for r in arms[one]
        if r["seed"] in by_seed
    ]
    signs = ", ".join(f"{100 * d:+.2f} %" for d in differences)
    return f"- test bits a byte, {one} against {other}, seed by seed: {signs}"


def sensitivity(result: dict, arms: dict[str, list[dict]]) -> str:
    """Returns what another learning rate would have given on the same seed."""
    base = next((r for r in arms[result["arm"]] if r["seed"] == result["seed"]), None)
    before = base["error"]["valid_bits_per_byte"] if base else math.nan
    return (
        f"- {result['arm']}, seed {result['seed']}, learning rate "
        f"{result['learning_rate']:g}: {result['error']['valid_bits_per_byte']:.4f} "
        f"valid bits a byte, against {before:.4f} at {RATE:g}"
    )


def spread(values: list[float]) -> str:
    """Returns mean ± standard deviation (n - 1)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
