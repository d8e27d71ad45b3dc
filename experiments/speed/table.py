"""Makes the README's table from results/ and its folders, and writes it into README.md.

Run: python experiments/speed/table.py
"""

import json

from paired import HERE

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
HEAD = """| what | against | ours | peer | times as fast | 10th to 90th percentile \
| of the peak: ours, peer | CPU or GPU |
|---|---|---|---|---|---|---|---|"""
PEERS = {
    "after a seam": "the same shape built fresh",
    "price": "plain AdamW",
    "gates": "plain AdamW",
    "width": "plain AdamW",
    "half": "the same with all heads and units",
    "48 against 6": "48 layers (peer) against 6 (ours)",
}


def main() -> None:
    lines = [HEAD]
    for path in sorted(HERE.glob("results/**/*.json")):
        result = json.loads(path.read_text())
        for name, row in result.items():
            if isinstance(row, dict) and "ratio" in row:
                machine = result.get("device") or result["machine"]["cpu"]
                lines.append(describe(path.stem, name, row, machine))
    page = (HERE / "README.md").read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    table = "\n".join(lines)
    (HERE / "README.md").write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    print(table)


def describe(experiment: str, name: str, row: dict, machine: str) -> str:
    peer = row.get("peer_name") or PEERS.get(name, "")
    ours, other = (f"{1e3 * row[key]:,.0f} ms" for key in ("ours", "peer"))
    spread = f"{row['low']:.2f} to {row['high']:.2f}"
    share = ""
    if "peak_gflops_per_s" in row:
        share = f"{row['ours_share']:.0%}, {row['peer_share']:.0%} of "
        share += f"{row['peak_gflops_per_s']:,.0f} GFLOP/s"
    return (
        f"| {experiment}: {name.split(',')[0]} | {peer} | {ours} | {other} | "
        f"**{row['ratio']:.2f}** | {spread} | {share} | {machine} |"
    )


if __name__ == "__main__":
    main()
