"""What an arm of a study is: a recipe of configs/, and what is changed in it."""

import dataclasses
import json
from typing import Any

Settings = dict[str, Any]
"""Values by their names in a config, such as ``{"data.seq_len": 64}``."""

MINILM = "minilm"

DENSE: Settings = {
    "objective.strategy": "none",
    "objective.budget": "",
    "quantize.bits": [16],
}
"""What makes a recipe dense that is slimmed otherwise."""

FINETUNE: Settings = {
    "model.dtype": "bfloat16",
    "train.num_epochs": 2,
    "train.patience": 0,
    "train.eval_every_steps": 120,
}
"""What all arms have that start from MiniLM."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to train a model on the examples of a study.

    Attributes:
        recipe: Name of a config.
        settings: What is changed in it.
        start: Whose weights it starts from: `MINILM`, or an arm of the same study that
            is trained before; empty for fresh ones.
        is_plain: Whether only the texts of the examples are read, as for pretraining.
    """

    recipe: str
    settings: Settings
    start: str = ""
    is_plain: bool = False

    def but(self, settings: Settings) -> "Arm":
        """Returns this arm with other values of some settings."""
        return dataclasses.replace(self, settings=self.settings | settings)


def minilm(task: str, settings: Settings) -> Arm:
    """Returns an arm that fine-tunes MiniLM."""
    return Arm("finetune", FINETUNE | {"task": task} | settings, start=MINILM)


def as_changes(settings: Settings) -> list[tuple[str, str]]:
    """Returns settings as `slimjax.config.override` takes them.

    Examples:
        >>> as_changes({"data.buckets": [32, 64], "model.cell": "gru"})
        [('data.buckets', '[32, 64]'), ('model.cell', 'gru')]
    """
    text = lambda value: value if isinstance(value, str) else json.dumps(value)
    return [(name, text(value)) for name, value in settings.items()]
