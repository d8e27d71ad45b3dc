"""A text classifier from labelled files: an encoder that learns, then slims.

Each line of a ``jsonl`` file, or each row of a ``csv`` file, is an example with a
``text`` and a ``label``. Where your files use other names, say so: with
``--config.data.fields='{"text": "review", "label": "stars"}'``.

Run: slimjax train --config=classification --workdir=runs/reviews \
        --config.data.source='jsonl:reviews/*.jsonl'

The model reads at most 48 tokens, sees the whole text at once, and answers from the
mean of all positions. These numbers suit some 8,000 sentences: a small width, strong
dropout and decay, and few steps, since the model soon knows such data by heart. More
data bear more steps and width, longer texts a larger `seq_len`.

Half of the bytes go in two seams: heads and hidden units are removed, and what stays
gets fewer bits. experiments/tasks/README.md has results.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=8_192, seq_len=48)
    config.data.fields = dict(text="text", label="label")
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder", width=64, num_layers=2, num_heads=4)
    config.model.mlp_dim = 128
    config.model.positions = "none"  # Order helps only where there are more data.
    config.model.pool = "mean"
    config.model.dropout = 0.5
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=50, weight_decay=5.0)
    config.resize = dict(first_step=200, every_steps=100, max_seams=2)
    config.train = dict(num_steps=400, eval_every_steps=50, eval_rows=1_024)
    return config
