"""A number for each text, such as graded sentiment: an encoder that learns, then slims.

Each line of a ``jsonl`` file, or each row of a ``csv`` file, is an example with a
``text`` and a ``value``, any number. Other names: --config.data.fields='{"text":
"review", "value": "score"}'. A ``text_pair`` beside the text is read too.

Run: slimjax train --config=regression --workdir=runs/scores \
        --config.data.source='jsonl:reviews/*.jsonl'

The model is that of the classification recipe: small, with strong dropout and decay, as
some thousand sentences need it.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "regression"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=8_192, seq_len=48)
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder", width=64, num_layers=2, num_heads=4)
    config.model.mlp_dim = 128
    config.model.positions = "none"  # Order helps only where there are more data.
    config.model.pool = "mean"
    config.model.dropout = 0.3
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=50, weight_decay=1.0)
    config.resize = dict(first_step=300, every_steps=150, max_seams=2)
    config.train = dict(num_steps=600, eval_every_steps=50, eval_rows=1_024)
    return config
