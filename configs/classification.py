"""A text classifier from labelled files: an encoder that learns, then slims.

Each line of a ``jsonl`` file, or each row of a ``csv`` file, is an example with a
``text`` and a ``label``. Where your files use other names, say so: with
``--config.data.fields='{"text": "review", "label": "stars"}'``.

Run: slimjax train --config=classification --workdir=runs/reviews \
        --config.data.source='jsonl:reviews/*.jsonl'

The model reads at most 64 tokens, sees the whole text at once, and answers from the
mean of all positions. Half of its bytes go in two seams: heads and hidden units are
removed, and what stays gets fewer bits.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=4_096, seq_len=64)
    config.data.fields = dict(text="text", label="label")
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder", width=128, num_layers=2, num_heads=4)
    config.model.mlp_dim = 256
    config.model.pool = "mean"
    config.model.dropout = 0.3
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=50, weight_decay=0.1)
    config.resize = dict(first_step=400, every_steps=200, max_seams=2)
    config.train = dict(num_steps=1_000, eval_every_steps=100, eval_rows=1_024)
    return config
