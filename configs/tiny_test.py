"""A complete run in seconds: for tests, and to check an installation.

Run: slimjax train --config=configs/tiny_test.py --workdir=/tmp/tiny
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="stdlib", tokenizer="bytes", seq_len=32, batch_size=8)
    config.model = dict(width=32, num_layers=2, num_heads=4, num_kv_heads=2)
    config.model.head_dim = 8
    config.model.mlp_dim = 48
    config.model.dtype = "float32"
    config.objective = dict(strategy="exchange", size="params", budget="60%")
    config.optim = dict(learning_rate=3e-3, warmup_steps=5, weight_decay=0.1)
    config.resize = dict(first_step=10, every_steps=5, max_seams=2)
    config.train = dict(num_steps=24, eval_every_steps=12, save_every_steps=6)
    config.train.eval_rows = 32
    config.train.log_every_steps = 4
    return config
