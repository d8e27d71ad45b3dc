"""Simple peers on the examples of run.py, written to results/.

Run: pip install -e '.[tasks,peers]', then
    python experiments/tasks/baselines.py --study=movie [--seed=0] [--peer=svm]
    [--data=runs/tasks/data]

Peers are those of peers_labels.py, peers_spans.py, peers_texts.py and peers_images.py;
without --peer all of a study are computed, without --study all of all studies.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers_images
import peers_labels
import peers_spans
import peers_texts
from sets import STUDIES, make_split

RESULTS = Path(os.path.relpath(Path(__file__).parent)) / "results"
Peer = Callable[[tuple[str, ...], int], dict[str, Any]]
"""From the sources of a split and a seed to metrics on its test examples."""

PEERS: dict[str, dict[str, Peer]] = (
    peers_labels.PEERS | peers_spans.PEERS | peers_texts.PEERS | peers_images.PEERS
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peers of the tasks")
    parser.add_argument("--study", choices=STUDIES, default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", default="", help="one of the study; default all")
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    flags = parser.parse_args()
    for study in [flags.study] if flags.study else PEERS:
        for peer in [flags.peer] if flags.peer else PEERS[study]:
            run_peer(study, peer, flags.seed, flags.data)


def run_peer(study: str, peer: str, seed: int, data: Path) -> None:
    """Computes a peer, unless its result is there."""
    path = RESULTS / f"{study}-{peer}-seed{seed}.json"
    if path.exists():
        return
    sources = make_split(study, seed, data)
    start = time.perf_counter()
    result = {"study": study, "arm": peer, "seed": seed}
    result |= PEERS[study][peer](sources, seed)
    result |= {"seconds": time.perf_counter() - start}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, result, flush=True)


if __name__ == "__main__":
    main()
