"""Vectors of texts, such that a text finds its partner: search in answers.

Each example has a ``text`` and a ``text_pair`` that goes with it: a question and its
answer, a title and its article. Both are read by one encoder.

Run: slimjax train --config=ranking --workdir=runs/search \
        --config.data.source='jsonl:questions.jsonl'

Then: slimjax predict --workdir=runs/search --text='How do I ...?' \
        --candidates=answers.txt

All other rows of a batch are wrong answers, so large batches teach more.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "ranking"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=8_192, seq_len=64)
    config.data.batch_size = 64  # Pairs a step.
    config.model = dict(kind="encoder", width=128, num_layers=3, num_heads=4)
    config.model.mlp_dim = 256
    config.model.positions = "rotary"
    config.model.pool = "mean"
    config.model.dropout = 0.1
    config.head = dict(temperature=0.05)
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=100, weight_decay=0.1)
    config.resize = dict(first_step=800, every_steps=400, max_seams=2)
    config.train = dict(num_steps=2_000, eval_every_steps=200, eval_rows=1_024)
    return config
