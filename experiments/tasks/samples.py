"""Samples of what a model wrote for test examples, for studies without a figure."""

import json
from pathlib import Path
from typing import Any

STUDIES = ("triples", "chat")
NUM = 8
HEAD = """| study | read | written | right |
|---|---|---|---|"""

Sample = dict[str, str]


def read_samples(folder: Path) -> list[Sample]:
    """Returns some answers of a run, spread over its test examples."""
    text = (folder / "predictions-test.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.split("\n") if line]
    chosen = [lines[i * len(lines) // NUM] for i in range(min(NUM, len(lines)))]
    return [_describe(line) for line in chosen]


def _describe(line: dict[str, Any]) -> Sample:
    if "messages" in line:
        *past, last = (message["content"] for message in line["messages"])
        return {"read": " / ".join(past), "written": line["prediction"], "right": last}
    right = ", ".join(line["expected"]["target"][:3])
    return {"read": line["source"], "written": line["prediction"], "right": right}


def list_samples(arms: dict[tuple[str, str], dict[int, dict]]) -> list[str]:
    """Returns a table of the samples of all studies that have some, of seed 0."""
    lines = [HEAD]
    for study in STUDIES:
        for sample in arms.get((study, "dense"), {}).get(0, {}).get("samples", ()):
            cells = [
                sample[name].replace("|", "/") for name in ("read", "written", "right")
            ]
            lines.append(f"| {' | '.join([study, *cells])} |")
    return lines
