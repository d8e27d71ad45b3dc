"""Names in texts: an encoder that tags words, then slims.

Each example has ``tokens`` and ``tags`` (BIO or BIOES), such as a CoNLL file has them,
or a ``text`` and its ``entities``, [[start, end, type], ...] in characters.

Run: slimjax train --config=tagging --workdir=runs/names \
        --config.data.source='conll:train.txt'

Texts longer than a row are read in windows that overlap. Sentences of the same document
are different examples, so give valid and test files of their own where you have them.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "tagging"
    config.data = dict(source="conll:examples.txt", vocab_size=4_096, seq_len=96)
    config.data.batch_size = 32  # Windows a step.
    config.model = dict(kind="encoder", width=128, num_layers=3, num_heads=4)
    config.model.mlp_dim = 256
    config.model.positions = "rotary"
    config.model.dropout = 0.3
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1)
    config.resize = dict(first_step=800, every_steps=400, max_seams=2)
    config.train = dict(num_steps=2_000, eval_every_steps=200, eval_rows=512)
    return config
