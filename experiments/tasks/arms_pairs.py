"""Arms of studies of two texts: pairs, relations, translation, summaries."""

from arm import DENSE, MINILM, Arm, minilm

PAIR = {
    "data.seq_len": 128,
    "data.buckets": [96],
    "optim.ema_decay": 0.98,
    "train.num_steps": 1_000,
    "train.eval_every_steps": 200,
}
RELATION = {
    "data.vocab_size": 8_192,
    "data.seq_len": 64,
    "data.buckets": [32, 48],
    "optim.ema_decay": 0.98,
    "train.num_steps": 1_500,
    "train.eval_every_steps": 250,
}
EXTRACT = {
    "data.seq_len": 160,
    "data.buckets": [64, 96],
    "data.valid_fraction": 0.02,
    "model.num_layers": 2,
    "head.num_sentences": 1,
    "optim.ema_decay": 0.98,
    "train.num_steps": 1_400,
    "train.eval_every_steps": 300,
}
TRANSLATE = {
    "data.vocab_size": 4_000,
    "data.source_vocab_size": 4_000,
    "data.valid_fraction": 0.02,
    "data.seq_len": 64,
    "data.buckets": [16, 32, 64],
    "optim.decay": "linear",
    "optim.final_fraction": 0,
    "train.num_epochs": 15,
    "train.num_steps": 0,
    "train.eval_every_steps": 1_000,
}
SUMMARY = {  # Names stand at the beginning of a description, and can be copied.
    "data.vocab_size": 6_000,
    "data.source_vocab_size": 0,
    "data.valid_fraction": 0.02,
    "data.seq_len": 64,
    "data.target_len": 24,
    "model.width": 128,
    "model.mlp_dim": 512,
    "model.copies": True,
    "optim.decay": "linear",
    "optim.final_fraction": 0,
    "train.num_steps": 2_400,
    "train.eval_every_steps": 400,
}

TRIPLES = {  # Facts are learned by heart, so there is little dropout.
    "data.vocab_size": 4_000,
    "data.source_vocab_size": 0,
    "data.valid_fraction": 0.02,
    "data.seq_len": 24,
    "data.target_len": 12,
    "model.width": 128,
    "model.mlp_dim": 512,
    "model.dropout": 0.0,
    "optim.decay": "linear",
    "optim.final_fraction": 0,
    "train.label_smoothing": 0.0,
    "train.num_steps": 3_000,
    "train.eval_every_steps": 500,
}
CHAT = {
    "data.vocab_size": 2_048,
    "data.valid_fraction": 0.05,
    "data.seq_len": 64,
    "data.target_len": 48,
    "model.width": 128,
    "model.num_layers": 2,
    "model.num_heads": 4,
    "optim.decay": "linear",
    "optim.final_fraction": 0,
    "train.num_steps": 300,
    "train.eval_every_steps": 100,
}

ARMS: dict[str, dict[str, Arm]] = {
    "pair": {
        "dense": Arm("relation", DENSE | PAIR),
        "minilm": minilm(
            "relation",
            {"data.seq_len": 112, "data.buckets": [64, 96], "train.num_epochs": 0.5},
        ),
    },
    "relation": {
        "dense": Arm("relation", DENSE | RELATION),
        "minilm": minilm(
            "relation",
            {"data.seq_len": 64, "data.buckets": [32, 48], "train.num_epochs": 1},
        ),
    },
    "faq": {"minilm": Arm("", {}, start=MINILM)},  # Nothing is trained.
    "summary": {"dense": Arm("seq2seq", SUMMARY)},
    "extract": {"dense": Arm("extractive", DENSE | EXTRACT)},
    "triples": {"dense": Arm("seq2seq", TRIPLES)},
    "chat": {"dense": Arm("chat", CHAT)},
    "translate": {"dense": Arm("seq2seq", TRANSLATE)},
    "translate-back": {"dense": Arm("seq2seq", TRANSLATE)},
}
