"""How parts of a text are related, or two texts: an encoder that learns, then slims.

Each example has a ``text``, two ``spans`` [[start, end], [start, end]] in characters,
and a ``label``. Or it has a ``text_pair`` in place of the spans: two sentences of which
one may follow from the other, or a word and another one.

Run: slimjax train --config=relation --workdir=runs/relations \
        --config.data.source='jsonl:relations.jsonl'
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "relation"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=8_192, seq_len=96)
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder", width=96, num_layers=3, num_heads=4)
    config.model.mlp_dim = 256
    config.model.positions = "rotary"
    config.model.token_types = 2  # First and second text.
    config.model.pool = "mean"
    config.model.dropout = 0.3
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=100, weight_decay=1.0)
    config.resize = dict(first_step=600, every_steps=300, max_seams=2)
    config.train = dict(num_steps=1_200, eval_every_steps=100, eval_rows=1_024)
    return config
