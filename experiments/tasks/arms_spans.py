"""Arms of studies whose answers are places in a text: entities, spans."""

from arm import DENSE, Arm, minilm

WIDTH, HEADS, HIDDEN = 128, 4, 256
LAYER = {
    "width": WIDTH,
    "num_heads": HEADS,
    "num_kv_heads": HEADS,
    "head_dim": WIDTH // HEADS,
    "mlp_dim": HIDDEN,
}
GRU_BELOW = [LAYER | {"attention": False, "state_dim": WIDTH}, LAYER]
"""A recurrent layer, then one of attention."""

DAILY = {
    "data.vocab_size": 5_000,  # Nearly all of them are characters.
    "data.seq_len": 128,
    "data.buckets": [32, 64],
    "data.valid_fraction": 0.03,
    "optim.learning_rate": 2e-3,
    "optim.ema_decay": 0.99,
    "train.num_steps": 1_800,
    "train.eval_every_steps": 300,
}
LONGER = {  # Names are learned by heart: less dropout, more epochs.
    "model.architecture": GRU_BELOW,
    "model.dropout": 0.1,
    "optim.learning_rate": 3e-3,
    "train.num_steps": 2_600,
}
TWEETS = {  # Most words are one piece; its bytes say what is spelled alike.
    "data.vocab_size": 8_192,
    "data.seq_len": 64,
    "data.buckets": [24, 40],
    "model.architecture": GRU_BELOW,
    "model.stem": "characters",
    "model.token_bytes": 16,
    "model.dropout": 0.3,
    "optim.learning_rate": 2e-3,
    "optim.ema_decay": 0.98,
    "train.num_steps": 700,
    "train.eval_every_steps": 100,
}
DAILY_SPANS = {
    "data.vocab_size": 5_000,
    "data.seq_len": 128,
    "data.buckets": [48, 80],
    "data.valid_fraction": 0.05,
    "model.num_layers": 3,
    "model.mlp_dim": 256,
    "model.dropout": 0.2,
    "optim.learning_rate": 2e-3,
    "optim.ema_decay": 0.99,
    "train.num_steps": 1_200,
    "train.eval_every_steps": 300,
}
TWEET_SPANS = {
    "data.vocab_size": 2_048,
    "data.seq_len": 64,
    "data.buckets": [32, 48],
    "model.num_layers": 2,
    "model.mlp_dim": 256,
    "model.stem": "characters",
    "model.dropout": 0.4,
    "optim.ema_decay": 0.99,
    "train.num_steps": 500,
    "train.eval_every_steps": 100,
}
OF_TWEETS = {"data.seq_len": 64, "data.buckets": [24, 40], "train.num_epochs": 5}

ARMS: dict[str, dict[str, Arm]] = {
    "ner": {
        "dense": Arm("tagging", DENSE | TWEETS),
        "minilm": minilm("tagging", OF_TWEETS),
    },
    "ner-zh": {
        "dense": Arm("tagging", DENSE | DAILY),
        "gru-below": Arm("tagging", DENSE | DAILY | LONGER),
    },
    "spans": {
        "dense": Arm("span_qa", DENSE | TWEET_SPANS),
        "minilm": minilm("span_qa", OF_TWEETS | {"data.buckets": [32, 48]}),
    },
    "spans-zh": {"dense": Arm("span_qa", DENSE | DAILY_SPANS)},
}
