"""The arms of this study: what a model learns from, and what of it is shared."""

import dataclasses
from typing import Any

Settings = dict[str, Any]
SOURCE, TARGET = "movie", "shop"
MINILM, FIRST = "minilm", "source"

DENSE: Settings = {
    "objective.strategy": "none",
    "objective.budget": "",
    "quantize.bits": [16],
}
SMALL: Settings = {"model.adapters": {}, "data.temperature": 1.0}
"""What is changed in the recipe ``domains`` for a model without adapters."""

ADAPTERS: Settings = {"model.adapters": {"width": 16, "skip": 0.1}}
EVEN: Settings = {"data.temperature": 2.0}
PRETRAINED: Settings = {
    "data.seq_len": 56,
    "model.dtype": "bfloat16",
    "train.num_epochs": 2,
    "train.patience": 0,
    "train.eval_every_steps": 120,
}
TUNED: Settings = {
    "data.seq_len": 48,
    "data.batch_size": 16,
    "model.dropout": 0.5,
    "optim.learning_rate": 3e-4,
    "optim.layer_decay": 1.0,
    "train.num_epochs": 10,
    "train.patience": 0,
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to learn from a source and k examples of a target.

    Attributes:
        recipe: Name of a config.
        settings: What is changed in it.
        reads: Domains that it trains on, those without examples left out.
        start: Whose weights it starts from, `MINILM` or the arm `FIRST`.
        ks: Numbers of target examples with which it is run.
    """

    recipe: str
    settings: Settings
    reads: tuple[str, ...] = (SOURCE, TARGET)
    start: str = ""
    ks: tuple[int, ...] = (50, 200, 1000)


ALL = (0, 50, 200, 1000)
ARMS = {
    FIRST: Arm("domains", DENSE | SMALL, (SOURCE,), ks=(0,)),
    "pooled": Arm("domains", DENSE | SMALL),
    "pooled-even": Arm("domains", DENSE | SMALL | EVEN),
    "tuned": Arm("finetune", TUNED, (TARGET,), FIRST),
    "adapters": Arm("domains", DENSE | ADAPTERS | EVEN, ks=ALL),
    "adapters-slim": Arm("domains", ADAPTERS | EVEN, ks=ALL),
    "minilm-pooled": Arm("finetune", PRETRAINED, start=MINILM, ks=(0, 200)),
    "minilm-adapters": Arm(
        "finetune", PRETRAINED | ADAPTERS | EVEN, start=MINILM, ks=ALL
    ),
}
"""Arms by name. Where k is 0, ``pooled`` is ``source``."""

MATRIX = {
    "dense": DENSE | SMALL,
    "slim": SMALL,
    "adapters": DENSE | ADAPTERS | EVEN,
    "adapters-slim": ADAPTERS | EVEN,
}
"""Kinds of models of the transfer matrix."""
