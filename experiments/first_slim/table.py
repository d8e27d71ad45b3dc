"""Makes the README's tables from results/*.json, and writes them into README.md.

Run: python experiments/first_slim/table.py
"""

import json
from collections import defaultdict

from run import HERE, RATE

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
ORDER = ("dense", "slim49", "scratch49", "slim30", "scratch30")
ORDER += ("slim49+teacher", "scratch49+teacher")
ORDER += ("dense-long", "slim49-long", "scratch49-long")
ORDER += ("dense=", "scratch49=", "scratch30=")
HEAD = """| arm | seeds | steps | training TFLOP | parameters | valid bits per byte | \
test bits per byte |
|---|---|---|---|---|---|---|"""


def main() -> None:
    results = [
        json.loads(p.read_text()) for p in sorted(HERE.glob("results/*-lr*[0-9].json"))
    ]
    rates = defaultdict(lambda: defaultdict(list))
    for result in results:
        rates[result["learning_rate"]][result["arm"]].append(result)
    lines = describe_all(rates.pop(RATE))
    for rate, arms in sorted(rates.items()):
        lines += ["", *describe_all(arms, f", learning rate {rate:g}")]
    page = (HERE / "README.md").read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    text = "\n".join(lines).strip()
    (HERE / "README.md").write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    print(text)


PAIRS = (("slim49", "dense"), ("slim49", "scratch49"), ("slim30", "scratch30"))
PAIRS += (("slim49+teacher", "scratch49"), ("slim49+teacher", "scratch49+teacher"))
PAIRS += (
    ("slim49+teacher", "dense"),
    ("slim49-long", "dense-long"),
    ("slim49-long", "scratch49-long"),
    ("slim49", "dense="),
    ("slim49", "scratch49="),
    ("slim30", "scratch30="),
)


def describe_all(arms: dict[str, list[dict]], note: str = "") -> list[str]:
    """Returns the table of the arms that there are, and how they compare."""
    rows = [describe(arm, arms[arm], note) for arm in ORDER if arm in arms]
    pairs = [(a, b) for a, b in PAIRS if a in arms and b in arms]
    return [HEAD, *rows, "", *(compare(a, b, arms) for a, b in pairs)]


def describe(arm: str, results: list[dict], note: str) -> str:
    """Returns an arm's row: means over seeds, and standard deviations of bits."""
    mean = lambda block, key: sum(r[block][key] for r in results) / len(results)
    bits = [spread([r["error"][f"{s}_bits_per_byte"] for r in results]) for s in SPLITS]
    return (
        f"| {arm}{note} | {len(results)} | {mean('train', 'steps'):.0f} "
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
    return f"- test bits per byte, {one} against {other}, seed by seed: {signs}"


def spread(values: list[float]) -> str:
    """Returns mean ± standard deviation (n - 1)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
