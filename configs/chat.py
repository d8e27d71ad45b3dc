"""A decoder that answers: it reads the messages so far and writes the next one.

Each line of a ``jsonl`` file is an example with ``messages``, a list of
``{"role": "user", "content": "Hi."}``. The last one must be the assistant's.

Run: slimjax train --config=chat --workdir=runs/chat \
        --config.data.source='jsonl:chats/*.jsonl'

With ``data.one_row=False`` and ``model.kind="encoder_decoder"`` an encoder reads the
messages.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "chat"
    config.data = dict(source="jsonl:chats.jsonl", vocab_size=4_096, seq_len=96)
    config.data.target_len = 64
    config.data.one_row = True  # Messages, then the answer.
    config.data.batch_size = 32  # Examples a step.
    config.model = dict(kind="decoder", width=192, num_layers=4, num_heads=6)
    config.model.mlp_dim = 512
    config.model.dropout = 0.1
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1)
    config.decode = dict(beam_size=1)
    config.train = dict(num_steps=2_000, eval_every_steps=200, eval_rows=512)
    return config
