"""Arms of studies whose texts have a label or a value."""

from arm import DENSE, Arm, minilm

MOVIE = Arm("classification", {})
R8 = Arm(
    "classification",
    {
        "data.seq_len": 128,
        "model.dropout": 0.3,
        "optim.learning_rate": 3e-3,
        "optim.weight_decay": 0.1,
        "train.num_steps": 500,
        "resize.first_step": 300,
        "resize.every_steps": 100,
    },
)
LONGER = {  # R8's articles whole, and an average of the weights.
    "data.seq_len": 256,
    "data.buckets": [64, 128],
    "data.batch_size": 32,
    "optim.ema_decay": 0.98,
    "train.num_steps": 900,
    "train.eval_every_steps": 150,
    "train.eval_rows": 0,
}
NEWS = {
    "data.seq_len": 256,
    "data.buckets": [64, 128],
    "data.batch_size": 32,
    "data.vocab_size": 16_384,
    "model.dropout": 0.3,
    "optim.learning_rate": 3e-3,
    "optim.weight_decay": 0.1,
    "optim.ema_decay": 0.98,
    "train.num_steps": 1_400,
    "train.eval_every_steps": 200,
}
SPAM = {
    "data.seq_len": 192,
    "data.buckets": [64, 128],
    "data.batch_size": 32,
    "model.dropout": 0.3,
    "optim.learning_rate": 2e-3,
    "optim.weight_decay": 0.1,
    "optim.ema_decay": 0.98,
    "train.num_steps": 600,
}
ZH = Arm(
    "classification",
    {
        "data.seq_len": 64,
        "train.num_steps": 600,
        "resize.first_step": 300,
        "resize.every_steps": 150,
    },
)
RECURRENT_ZH = {  # Characters, read in order.
    "data.vocab_size": 4_096,
    "data.seq_len": 128,
    "data.buckets": [32, 64],
    "model.width": 96,
    "model.num_layers": 1,
    "model.mlp_dim": 192,
    "model.cell": "gru",
    "model.pool": "max",
    "model.dropout": 0.5,
    "optim.learning_rate": 2e-3,
    "optim.weight_decay": 0.5,
    "optim.ema_decay": 0.98,
    "train.num_steps": 1_600,
    "train.eval_every_steps": 200,
}
PRETRAIN = Arm(
    "mlm",
    {
        "data.vocab_size": 4_096,
        "data.seq_len": 64,
        "data.batch_size": 32,
        "model.width": 96,
        "model.num_layers": 2,
        "model.num_heads": 4,
        "model.mlp_dim": 192,
        "model.positions": "rotary",
        "model.stem": "characters",
        "model.dropout": 0.2,
        "optim.learning_rate": 3e-3,
        "train.num_steps": 1_200,
        "train.eval_every_steps": 300,
    },
    is_plain=True,
)
PRETRAINED = Arm(
    "finetune",
    {
        "data.seq_len": 48,
        "data.batch_size": 64,
        "model.dropout": 0.5,
        "optim.learning_rate": 1e-3,
        "optim.weight_decay": 1.0,
        "optim.ema_decay": 0.98,
        "train.num_epochs": 4,
        "train.patience": 0,
    },
    start="pretrain",
)
SENTENCES = {"data.seq_len": 56, "data.buckets": [28, 40]}

ARMS: dict[str, dict[str, Arm]] = {
    "movie": {
        "slim": MOVIE,
        "dense": MOVIE.but(DENSE),
        "pretrain": PRETRAIN,
        "pretrained": PRETRAINED,
        "minilm": minilm("classification", SENTENCES),
    },
    "three": {"dense": MOVIE.but(DENSE)},
    "graded": {
        "dense": Arm("regression", DENSE | {"optim.ema_decay": 0.98}),
        "minilm": minilm("regression", SENTENCES),
    },
    "r8": {"slim": R8, "dense": R8.but(DENSE), "longer": R8.but(DENSE | LONGER)},
    "news": {"dense": Arm("classification", DENSE | NEWS)},
    "spam": {"dense": Arm("classification", DENSE | SPAM)},
    "zh": {
        "slim": ZH,
        "dense": ZH.but(DENSE),
        "recurrent": Arm("classification", DENSE | RECURRENT_ZH),
    },
}
