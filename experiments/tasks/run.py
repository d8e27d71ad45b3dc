"""Classification of texts and images, dense and slimmed, beside simple peers.

Run: python experiments/tasks/run.py --study=movie [--seed=0] [--arm=dense]
    [--workdir=runs/tasks]

Studies and their data are those of sets.py, arms those of ARMS; without --arm all arms
of a study are trained, one after the other. Killed and started again, it goes on where
it was. Results are small JSON files in results/; baselines.py computes the peers on the
same examples, and table.py makes the README's table.
"""

import argparse
import json
import os
from pathlib import Path

from minilm import make_folder
from sets import STUDIES, make_split

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
HERE = Path(os.path.relpath(Path(__file__).parent))  # No path of this machine.
RESULTS = HERE / "results"
Changes = list[tuple[str, str]]

DENSE: Changes = [("objective.strategy", "none"), ("objective.budget", "")]
DENSE += [("quantize.bits", "[16]")]
TEXTS: dict[str, Changes] = {"slim": [], "dense": DENSE}
TEXTBOOK: Changes = [("data.valid_fraction", "0.01")]  # It chooses nothing by it.
RELU: Changes = [("model.mlp", "relu")]
TUNED: Changes = [*RELU, ("model.width", "512"), ("model.dropout", "0.3")]
TUNED += [("data.normalize", "[0.13, 0.31]"), ("train.label_smoothing", "0.1")]
TUNED += [("optim.name", "adamw"), ("optim.momentum", "0"), ("optim.clip_norm", "1")]
TUNED += [("optim.decay", "cosine"), ("optim.warmup_steps", "50")]
TUNED += [("optim.weight_decay", "0.1"), ("train.num_epochs", "30")]
UNITS: Changes = [*TUNED, ("objective.strategy", "exchange")]
UNITS += [("objective.size", "bytes"), ("objective.budget", "50%")]
UNITS += [("resize.first_step", "600"), ("resize.every_steps", "200")]
UNITS += [("resize.max_seams", "2")]
BITS: Changes = [*UNITS, ("quantize.bits", "[16, 8, 6, 4, 3, 2]")]
MINILM: Changes = [("model.dtype", "bfloat16"), ("train.num_epochs", "2")]
MINILM += [("data.seq_len", "56"), ("data.buckets", "[28, 40]")]
MINILM += [("train.patience", "0"), ("train.eval_every_steps", "120")]
ARMS: dict[str, dict[str, Changes]] = {
    "movie": {**TEXTS, "minilm": MINILM},
    "r8": TEXTS,
    "zh": TEXTS,
    "mnist": {
        "textbook": TEXTBOOK,
        "textbook-relu": TEXTBOOK + RELU,
        "tuned": TUNED,
        "slim-units": UNITS,
        "slim-bits": BITS,
    },
    "fashion": {"textbook": TEXTBOOK, "textbook-relu": TEXTBOOK + RELU},
    "translate": {"dense": []},
}
RECIPES = {"mnist": "mnist_mlp", "fashion": "mnist_mlp", "translate": "seq2seq"}
DATA: dict[str, Changes] = {
    "movie": [],
    "r8": [
        ("data.seq_len", "128"),
        ("model.dropout", "0.3"),
        ("optim.learning_rate", "3e-3"),
        ("optim.weight_decay", "0.1"),
        ("train.num_steps", "500"),
        ("resize.first_step", "300"),
        ("resize.every_steps", "100"),
    ],
    "zh": [
        ("data.seq_len", "64"),
        ("train.num_steps", "600"),
        ("resize.first_step", "300"),
        ("resize.every_steps", "150"),
    ],
    "mnist": [
        ("data.header", "false"),
        ("data.fields", '{"features": "0:784", "label": 784}'),
    ],
    "fashion": [],
    "translate": [  # 17 epochs.
        ("data.vocab_size", "4000"),
        ("data.source_vocab_size", "4000"),
        ("data.valid_fraction", "0.02"),
        ("data.seq_len", "64"),
        ("data.buckets", "[16, 32, 64]"),
        ("optim.decay", "linear"),
        ("optim.final_fraction", "0"),
        ("train.num_epochs", "17"),
        ("train.num_steps", "0"),
        ("train.eval_every_steps", "1000"),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Tasks")
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arm", default="", help="one of the study; default all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/tasks"))
    flags = parser.parse_args()
    for arm in [flags.arm] if flags.arm else ARMS[flags.study]:
        run_arm(flags.study, arm, flags.seed, flags.workdir)


def run_arm(study: str, arm: str, seed: int, workdir: Path) -> None:
    """Trains one arm, unless its result is there."""
    path = result_path(study, arm, seed)
    if path.exists():
        return
    changes = [("seed", str(seed)), *ARMS[study][arm]]
    if arm == "minilm":
        recipe = "finetune"
        changes += [("model.init_from", str(make_folder(workdir / "data")))]
    else:
        recipe = RECIPES.get(study, "classification")
        changes = [*changes[:1], *DATA[study], *changes[1:]]
    config = read_config(ROOT / "configs" / f"{recipe}.py")
    sources = make_split(study, seed, workdir / "data")
    names = ("data.source", "data.test_source")[: len(sources)]
    changes += list(zip(names, sources, strict=True))
    report = fit(override(config, changes), workdir / path.stem)
    kept = ("metrics", "error", "size", "train", "data", "seed", "config_hash")
    result = {"study": study, "arm": arm} | {key: report[key] for key in kept}
    result |= {"architecture": report["stages"][-1]["architecture"]}
    result |= {"seams": RunFolder(workdir / path.stem).seams.read()}
    result |= {"changes": dict(changes), "state_hash": report["state_hash"]}
    result |= {"versions": report["versions"], "machine": report["machine"]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.stem, report["error"], flush=True)


def result_path(study: str, arm: str, seed: int) -> Path:
    """Returns where an arm's result is kept."""
    return RESULTS / f"{study}-{arm}-seed{seed}.json"


if __name__ == "__main__":
    main()
