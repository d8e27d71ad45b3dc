"""A decoder on Python's standard library that halves its size while it learns.

Run: slimjax train --config=configs/quickstart.py --workdir=runs/demo

Expect: about five minutes on two CPU cores; three seams; less than half of the
starting weights and FLOPs; about 4 % more bits per byte than a model that was never
cut.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="stdlib", tokenizer="sentencepiece", vocab_size=2048)
    config.data.seq_len = 128  # Tokens per row.
    config.data.batch_size = 16  # Rows per step, over all devices.
    config.data.valid_fraction = 0.02  # For validation; 0.2 MB are enough.
    config.data.test_fraction = 0.02
    config.model = dict(width=256, num_layers=4, num_heads=8, head_dim=32, mlp_dim=704)
    config.model.dtype = "bfloat16"  # Of products; sums are float32.
    config.objective = dict(strategy="exchange", size="params")
    config.objective.budget = "49%"  # Of the starting weights, embedding included.
    config.optim = dict(learning_rate=2e-3, warmup_steps=40, weight_decay=0.1)
    config.optim.update(decay="linear", decay_fraction=0.4, final_fraction=0.0)
    config.resize = dict(first_step=320, every_steps=80, max_seams=3)
    config.resize.multiple = 16  # MLP widths that suit the matrix unit.
    config.train = dict(num_steps=800, eval_every_steps=50, save_every_steps=100)
    return config
