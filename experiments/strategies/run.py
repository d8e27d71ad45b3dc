"""What each strategy makes of one budget, on a small quickstart.

Run: python experiments/strategies/run.py [--workdir=runs/strategies] [--seeds=0]

Trains configs/quickstart.py to 49 % of its weights with each strategy, half as wide
(0.94 M weights) and shorter: 120 steps, seams after 60 and 72, and prices inside the
step that rise six times as fast. `none` is never cut; `scratch` is a fresh model in
the shape that `exchange` ended in; `learned_bits` has 49 % of the bytes to spend.
Killed and started again, it goes on where it was. Results are JSON files in results/,
and the README's table is printed from them.
"""

import argparse
import json
import os
from pathlib import Path

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.objective.config import DENSE, STRATEGIES
from slimjax.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
SMALL = [
    ("model.width", "128"),
    ("model.num_heads", "4"),
    ("model.mlp_dim", "352"),
    ("data.vocab_size", "1024"),
    ("train.num_steps", "120"),
    ("optim.warmup_steps", "6"),
    ("resize.first_step", "60"),
    ("resize.every_steps", "12"),
    ("resize.max_seams", "2"),
    ("train.eval_every_steps", "0"),
    ("train.save_every_steps", "0"),
    ("objective.price_rate", "6"),
]
ORDER = [name for name in STRATEGIES if name not in DENSE] + list(DENSE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Strategies")
    parser.add_argument("--workdir", type=Path, default=Path("runs/strategies"))
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--table", action="store_true", help="print the table only")
    flags = parser.parse_args()
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    for seed in seeds if not flags.table else []:
        for strategy in ORDER:
            run_arm(strategy, seed, flags.workdir)
    print_table(seeds)


def run_arm(strategy: str, seed: int, workdir: Path) -> None:
    """Trains one arm, unless its result is there."""
    path = result_path(strategy, seed)
    if path.exists():
        return
    changes = [*SMALL, ("seed", str(seed)), ("objective.strategy", strategy)]
    if strategy in DENSE:
        changes += [("objective.budget", "")]
    if strategy == "learned_bits":
        changes += [("objective.size", "bytes"), ("quantize.bits", "[16,8,6,4,3,2]")]
    if strategy == "scratch":
        shape = RESULTS / f"exchange-seed{seed}-architecture.json"
        shape.write_text(json.dumps(read_result("exchange", seed)["architecture"]))
        changes += [("model.architecture", str(shape))]
    config = override(read_config(ROOT / "configs" / "quickstart.py"), changes)
    report = fit(config, workdir / path.stem)
    kept = ("error", "size", "train", "seed", "config_hash", "state_hash")
    result = {"strategy": strategy} | {key: report[key] for key in kept}
    result |= {"architecture": report["stages"][-1]["architecture"]}
    result |= {"seams": RunFolder(workdir / path.stem).seams.read()}
    result |= {"versions": report["versions"], "machine": report["machine"]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, report["error"], flush=True)


def print_table(seeds: list[int]) -> None:
    """Prints the README's table from the results that are there."""
    print("| strategy | weights | test bits per byte | heads | MLP widths | TFLOP |")
    print("|---|---|---|---|---|---|")
    found = [
        read_result(strategy, seed)
        for seed in seeds
        for strategy in ORDER
        if result_path(strategy, seed).exists()
    ]
    for result in sorted(found, key=lambda r: r["error"]["test_bits_per_byte"]):
        layers = result["architecture"]
        heads = " ".join(str(layer["num_heads"]) for layer in layers)
        widths = " ".join(str(layer["mlp_dim"]) for layer in layers)
        print(
            f"| `{result['strategy']}` | {result['size']['params'] / 1e6:.2f} M "
            f"| {result['error']['test_bits_per_byte']:.3f} | {heads} | {widths} "
            f"| {result['train']['flops_total'] / 1e12:.1f} |"
        )


def read_result(strategy: str, seed: int) -> dict:
    """Returns the result of an arm."""
    return json.loads(result_path(strategy, seed).read_text())


def result_path(strategy: str, seed: int) -> Path:
    """Returns where an arm's result is kept."""
    return RESULTS / f"{strategy}-seed{seed}.json"


if __name__ == "__main__":
    main()
