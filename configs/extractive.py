"""Summaries made of sentences of a document: an encoder that chooses, then slims.

Each example has a ``document`` (or a list of ``sentences``) and a ``summary`` (or
``labels``, 0 or 1 for each sentence). Targets are the sentences that share most with
the summary. ``head.num_sentences`` are chosen, or what ``head.max_words`` allows.

Run: slimjax train --config=extractive --workdir=runs/summaries \
        --config.data.source='jsonl:articles.jsonl'
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "extractive"
    config.data = dict(source="jsonl:examples.jsonl", vocab_size=8_192, seq_len=256)
    config.data.batch_size = 32  # Windows a step.
    config.model = dict(kind="encoder", width=128, num_layers=3, num_heads=4)
    config.model.mlp_dim = 256
    config.model.positions = "rotary"
    config.model.dropout = 0.2
    config.head = dict(num_sentences=3)
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=100, weight_decay=0.1)
    config.resize = dict(first_step=800, every_steps=400, max_seams=2)
    config.train = dict(num_steps=2_000, eval_every_steps=200, eval_rows=512)
    return config
