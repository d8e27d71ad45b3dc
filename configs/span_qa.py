"""Questions whose answers stand in a text: an encoder that points at them, then slims.

Each example has a ``question``, a ``context`` and ``answers``, as SQuAD's files have.
A question without answers is one that the text does not answer.

Run: slimjax train --config=span_qa --workdir=runs/squad \
        --config.data.source='squad:train.json' \
        --config.data.valid_source='squad:dev.json'

Some ten thousand questions are needed to learn this from scratch. With fewer, start
from a model that knows the language, such as one of the recipe `mlm`:

     slimjax train --config=finetune --config.task=span_qa --workdir=runs/squad \
        --config.model.init_from=runs/mlm --config.optim.learning_rate=1e-3 \
        --config.data.source='squad:train.json' --config.data.seq_len=128 \
        --config.data.valid_source='squad:dev.json'
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "span_qa"
    config.data = dict(source="squad:examples.json", vocab_size=8_192, seq_len=192)
    config.data.batch_size = 32  # Windows a step.
    config.model = dict(kind="encoder", width=128, num_layers=4, num_heads=4)
    config.model.mlp_dim = 512
    config.model.positions = "rotary"
    config.model.token_types = 2  # Question and context.
    config.model.dropout = 0.1
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=200, weight_decay=0.1)
    config.resize = dict(first_step=2_000, every_steps=1_000, max_seams=2)
    config.train = dict(num_steps=5_000, eval_every_steps=500, eval_rows=512)
    return config
