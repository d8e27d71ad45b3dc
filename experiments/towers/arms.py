"""The studies and the arms of each: a recipe, and what is changed in it."""

import dataclasses

from splits import Settings

DENSE: Settings = {
    "objective.strategy": "none",
    "objective.budget": "",
    "quantize.bits": [16],
}
RULES = {"price": "", "vision_first": "image", "text_first": "text"}
RULES |= {"proportional": "even"}
"""Ways to divide a budget, by `config.objective.division`."""

BUDGETS = (50, 25, 10)
"""Parts of the bytes, in percent."""

PERCEPTRON: Settings = {
    "model.kind": "mlp",
    "model.stem": "",
    "model.mlp": "relu",
    "model.width": 256,
}
UNMOVED: Settings = {"augment.shift": 0, "augment.flip": False}
POOLED: Settings = {
    "model.filters": [16, 32, 64],
    "model.kernels": [3],
    "model.strides": [1],
    "model.pools": [2, 2, 1],
    "model.pool": "max",
    "optim.learning_rate": 2e-3,
}
"""A head that reads the maximum over all places, as that of digits does."""

WRITING: Settings = {
    "model.kind": "encoder_decoder",
    "model.num_layers": 1,
    "augment.mixup": 0,
    "data.stratify": False,
    "data.seq_len": 24,
    "data.vocab_size": 1024,
}
TRANSLATION: Settings = WRITING | {"task": "image_translation"}


@dataclasses.dataclass(frozen=True)
class Study:
    """Models of one data set.

    Attributes:
        recipe: Name of a config.
        data_set: What they read, see splits.py.
        arms: What each arm changes in the recipe.
        metric: Key of the headline, on the test split.
        num_seeds: Seeds 0, 1, ... that are run.
    """

    recipe: str
    data_set: str
    arms: dict[str, Settings]
    metric: str = "accuracy"
    num_seeds: int = 3


def slim_arms() -> dict[str, Settings]:
    """Returns the arms that end at a budget, by rule and budget."""
    return {
        f"{rule}-{budget}": {
            "objective.budget": f"{budget}%",
            "objective.division": division,
        }
        for budget in BUDGETS
        for rule, division in RULES.items()
    }


STUDIES = {
    "questions": Study(
        "image_question",
        "questions",
        {
            "dense": DENSE,
            "text": DENSE | {"model.inputs": "text"},
            "image": DENSE | {"model.inputs": "image"},
            **slim_arms(),
        },
    ),
    "digits": Study(
        "mnist_cnn",
        "digits",
        {"cnn": {}, "cnn-unmoved": UNMOVED, "mlp": PERCEPTRON},
    ),
    "clothes": Study(
        "fashion_cnn",
        "clothes",
        {
            "cnn": {},
            "cnn-unmoved": UNMOVED,
            "cnn-pooled": POOLED,
            "mlp": PERCEPTRON | {"optim.learning_rate": 2e-3},
        },
    ),
    "stamps": Study("stamps", "stamps", {"cnn": {}}),
    "captions-en": Study(
        "stamps", "captions-en", {"both": WRITING | {"task": "caption"}}, "bleu", 1
    ),
    "captions-zh": Study(
        "stamps", "captions-zh", {"both": WRITING | {"task": "caption"}}, "bleu", 1
    ),
    "translation": Study(
        "stamps",
        "pairs",
        {
            "both": TRANSLATION,
            "text": TRANSLATION | {"model.inputs": "text"},
            "image": TRANSLATION | {"model.inputs": "image"},
        },
        "chrf",
    ),
}
