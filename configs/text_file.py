"""A decoder on your own text files, slimmed to 40 % of its weights.

Run: slimjax train --config=configs/text_file.py \
    --config.data.source='text:books/*.txt' --workdir=runs/books

Takes any UTF-8 text of about 200 kB to 100 MB, in any language. With less than 1 MB,
lower data.vocab_size; with more than 10 MB, raise train.num_steps and model.width.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="text:*.txt", tokenizer="sentencepiece", vocab_size=2048)
    config.data.seq_len = 128  # Tokens per row.
    config.data.batch_size = 16  # Rows per step, over all devices.
    config.model = dict(width=256, num_layers=4, num_heads=8, head_dim=32, mlp_dim=704)
    config.model.dtype = "bfloat16"  # Of products; sums are float32.
    config.objective = dict(strategy="exchange", size="params", budget="40%")
    config.optim = dict(learning_rate=3e-3, warmup_steps=50, weight_decay=0.1)
    config.resize = dict(first_step=300, every_steps=150, max_seams=4, multiple=16)
    config.train = dict(num_steps=1200, eval_every_steps=100, save_every_steps=200)
    return config
