"""The config that all corpora of the study share, and the protocol's numbers."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimjax.config import override, read_config

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
RESULTS = HERE / "results"

POINTS, FOLDS, COST = 10, 3, 3.0
ALPHAS = (0.05, 0.15, 0.4, 1.0, 3.0)
"""Prices of the study's rule ``alpha=A``, in nats per byte for the whole start."""

RULES = ("description_length", *(f"alpha={alpha:g}" for alpha in ALPHAS))

CHANGES = [
    ("task", "lm"),
    ("data.tokenizer", "bytes"),
    ("data.seq_len", "128"),
    ("data.batch_size", "32"),
    ("data.test_fraction", "0.1"),
    ("model.width", "48"),
    ("model.num_layers", "3"),
    ("model.num_heads", "6"),
    ("model.num_kv_heads", "6"),
    ("model.head_dim", "8"),
    ("model.mlp_dim", "128"),
    ("model.dtype", "bfloat16"),
    ("objective.strategy", "exchange"),
    ("objective.size", "bytes"),
    ("objective.budget", "50%"),
    ("quantize.bits", "[8, 6, 4]"),
    ("optim.learning_rate", "4e-3"),
    ("optim.warmup_steps", "40"),
    ("optim.decay", "linear"),
    ("optim.final_fraction", "0"),
    ("resize.units", '["heads", "kv_heads", "mlp", "sublayer", "layer", "embed"]'),
    ("resize.multiple", "1"),
    ("train.eval_every_steps", "0"),
    ("train.save_every_steps", "100"),
]


def make_config(source: str, num_steps: int, seed: int = 0) -> dict[str, Any]:
    """Returns the config of a corpus."""
    config = override(read_config(ROOT / "configs" / "tiny_test.py"), CHANGES)
    more = [("data.source", source), ("seed", str(seed))]
    return override(config, [*more, ("train.num_steps", str(num_steps))])


def make_parser(page: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the flags that all parts of the study have.

    Args:
        page: The docstring of a script, whose first line is the title.
    """
    parser = argparse.ArgumentParser(description=(page or "").partition("\n")[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/tune"))
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        help="NAME=SOURCE, such as austen=text:austen/*.txt; by default stdlib=stdlib",
    )
    parser.add_argument("--num_steps", type=int, default=600, help="of the config")
    return parser


def list_corpora(flags: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yields names and sources of the corpora."""
    for text in flags.corpus or ["stdlib=stdlib"]:
        name, _, source = text.partition("=")
        yield name, source
