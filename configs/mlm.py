"""An encoder that learns a language by filling gaps: the start of fine-tuning.

Any text will do, such as that of the files that are to be classified later.

Run: slimjax train --config=mlm --workdir=runs/mlm \
        --config.data.source='text:books/*.txt'

Then fine-tune: slimjax train --config=finetune --workdir=runs/reviews \
        --config.model.init_from=runs/mlm --config.optim.learning_rate=1e-3 \
        --config.data.source='jsonl:reviews/*.jsonl'

Other recipes state another shape, and refuse these weights. The model is dense: a
classifier of it is slimmed while it is fine-tuned.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "mlm"
    config.data = dict(source="stdlib", vocab_size=8_192, seq_len=128)
    config.data.batch_size = 32  # Rows a step.
    config.data.whole_words = True  # Single pieces of a word are too easy to fill in.
    config.model = dict(kind="encoder", width=128, num_layers=4, num_heads=4)
    config.model.mlp_dim = 512
    config.model.dropout = 0.1
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=1e-3, warmup_steps=200, weight_decay=0.1)
    config.train = dict(num_steps=4_000, eval_every_steps=200, eval_rows=512)
    return config
