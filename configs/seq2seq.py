"""Text to text: translation, summaries, answers; an encoder-decoder on pairs of texts.

Each line of a ``jsonl`` file, or each row of a ``csv`` file, is an example with a
``source`` and a ``target``. A target may be a list of texts: the first is learned, all
are references for metrics. Two files of lines that belong together are read with
``parallel:train.en,train.zh``.

Run: slimjax train --config=seq2seq --workdir=runs/translate \
        --config.data.source='jsonl:pairs/*.jsonl'

Sources and targets have a tokenizer each: two languages share few pieces. For
summaries set ``data.source_vocab_size=0``: then one tokenizer and one table serve both.

Answers are written by beam search (``config.decode``); ``slimjax predict`` writes them
for new sources. The model is dense; with ``objective.budget`` it is slimmed.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "seq2seq"
    config.data = dict(source="jsonl:pairs.jsonl", vocab_size=4_096, seq_len=64)
    config.data.source_vocab_size = 4_096
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder_decoder", width=192, num_layers=2, num_heads=4)
    config.model.mlp_dim = 768
    config.model.positions = "learned"  # They align two texts soonest.
    config.model.dropout = 0.1
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=2e-3, warmup_steps=200, weight_decay=0.01)
    config.decode = dict(beam_size=4, length_penalty=0.6)
    config.train = dict(num_steps=4_000, eval_every_steps=200, eval_rows=512)
    config.train.label_smoothing = 0.1
    return config
