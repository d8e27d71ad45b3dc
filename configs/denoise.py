"""An encoder-decoder that learns a language by filling gaps: the start of `seq2seq`.

Any text will do, such as the sources and targets that are to be learned later.

Run: slimjax train --config=denoise --workdir=runs/denoise \
        --config.data.source='text:books/*.txt'

Then write: slimjax train --config=finetune --config.task=seq2seq \
        --workdir=runs/summaries --config.model.init_from=runs/denoise \
        --config.data.source='jsonl:pairs/*.jsonl' --config.data.seq_len=128 \
        --config.optim.learning_rate=1e-3

The recipe `seq2seq` states another shape, and a tokenizer for each side. Here both
sides share one.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "denoise"
    config.data = dict(source="stdlib", vocab_size=4_096, seq_len=128)
    config.data.batch_size = 32  # Rows a step.
    config.model = dict(kind="encoder_decoder", width=192, num_layers=2, num_heads=4)
    config.model.mlp_dim = 768
    config.model.dropout = 0.1
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=2e-3, warmup_steps=200, weight_decay=0.01)
    config.train = dict(num_steps=4_000, eval_every_steps=200, eval_rows=512)
    return config
