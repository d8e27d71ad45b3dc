"""Nine arms to their end, and by successive halving: what it costs, what it finds.

Run: python experiments/halving/run.py --workdir=runs/halving --corpus=stdlib=stdlib
"""

import argparse
import json
from pathlib import Path
from typing import Any

from slimjax.config import override, read_config
from slimjax.tune.arms import make_arms
from slimjax.tune.grid import parse_axis
from slimjax.tune.halving import Halving
from slimjax.tune.sweep import Plan, sweep

METRIC = "valid_bits_per_byte"
GRID = ("optim.learning_rate=1e-3,4e-3,1.6e-2", "model.mlp_dim=32,64,128")
CHANGES = {
    "data.batch_size": "16",
    "data.seq_len": "64",
    "mesh.data": "1",
    "objective.budget": "",
    "objective.strategy": "none",
    "optim.decay_fraction": "0.3",
    "optim.warmup_steps": "10",
    "train.eval_every_steps": "0",
    "train.eval_rows": "256",
    "train.num_steps": "360",
    "train.save_every_steps": "0",
}


def study(name: str, source: str, seeds: tuple[int, ...], root: Path) -> dict[str, Any]:
    """Returns what both sweeps spent, and which arms they found best."""
    changes = [*CHANGES.items(), ("data.source", source)]
    config = override(read_config("configs/tiny_test.py"), changes)
    arms = tuple(make_arms(config, [parse_axis(text) for text in GRID]))
    whole = sweep(Plan(arms, seeds), root / name / "whole")
    few = sweep(Plan(arms, seeds, halving=Halving(3, METRIC)), root / name / "halved")
    means = {arm["name"]: arm["means"][METRIC] for arm in whole["arms"]}
    order = sorted(means, key=lambda arm: means[arm]["mean"])
    spent = sum(t["flops_total"] for arm in whole["arms"] for t in arm["trials"])
    (chosen,) = few["halving"]["rounds"][-1]["promoted"]
    return {
        "corpus": name,
        "seeds": len(seeds),
        "flops_of_whole": few["halving"]["flops_spent"] / spent,
        "best_of_whole": order[0],
        "best": means[order[0]],
        "chosen": chosen,
        "chosen_in_whole": means[chosen],
        "rank_of_chosen": order.index(chosen) + 1,
        "rounds": [r["promoted"] for r in few["halving"]["rounds"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--seeds", type=int, default=2)
    flags = parser.parse_args()
    for text in flags.corpus:
        name, _, source = text.partition("=")
        found = study(name, source, tuple(range(flags.seeds)), flags.workdir)
        path = Path(__file__).parent / "results" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found))


if __name__ == "__main__":
    main()
