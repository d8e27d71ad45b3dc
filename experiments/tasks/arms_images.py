"""Arms of studies of images, by the textbook's perceptron and from it."""

from arm import Arm, Settings

TEXTBOOK: Settings = {"data.valid_fraction": 0.01}  # It chooses nothing by it.
RELU: Settings = {"model.mlp": "relu"}
TUNED: Settings = RELU | {
    "model.width": 512,
    "model.dropout": 0.3,
    "data.normalize": [0.13, 0.31],
    "train.label_smoothing": 0.1,
    "optim.name": "adamw",
    "optim.momentum": 0,
    "optim.clip_norm": 1,
    "optim.decay": "cosine",
    "optim.warmup_steps": 50,
    "optim.weight_decay": 0.1,
    "train.num_epochs": 30,
}
UNITS: Settings = TUNED | {
    "objective.strategy": "exchange",
    "objective.size": "bytes",
    "objective.budget": "50%",
    "resize.first_step": 600,
    "resize.every_steps": 200,
    "resize.max_seams": 2,
}
BITS: Settings = UNITS | {"quantize.bits": [16, 8, 6, 4, 3, 2]}
DIGITS = Arm(
    "mnist_mlp",
    {"data.header": False, "data.fields": {"features": "0:784", "label": 784}},
)
CLOTHES = Arm("mnist_mlp", {})
ARMS: dict[str, dict[str, Arm]] = {
    "mnist": {
        "textbook": DIGITS.but(TEXTBOOK),
        "textbook-relu": DIGITS.but(TEXTBOOK | RELU),
        "tuned": DIGITS.but(TUNED),
        "slim-units": DIGITS.but(UNITS),
        "slim-bits": DIGITS.but(BITS),
    },
    "fashion": {
        "textbook": CLOTHES.but(TEXTBOOK),
        "textbook-relu": CLOTHES.but(TEXTBOOK | RELU),
    },
}
