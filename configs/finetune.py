"""Fine-tuning: a run of any task that starts from the weights of another run.

Shape, style and tokenizer come from the folder that `model.init_from` names, which may
hold a model of any task, also a slim one. Only the head is fresh. The task is
classification unless `--config.task` names another one.

Run: slimjax train --config=finetune --workdir=runs/reviews \
        --config.model.init_from=runs/pretrained \
        --config.data.source='jsonl:reviews/*.jsonl'

The rates suit encoders of some 20 million weights: a small rate that falls with the
distance from the head, few epochs, and the best state by the validation split. Smaller
models bear larger rates. Set `objective.strategy=exchange` with a budget to slim it on
the way.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.data = dict(source="jsonl:examples.jsonl", seq_len=64, batch_size=32)
    config.model = dict(init_from="runs/pretrained", pool="mean", dropout=0.1)
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=1e-4, warmup_steps=50, weight_decay=0.01)
    config.optim.decay = "linear"
    config.optim.layer_decay = 0.9  # The embedding of 6 layers: half of the rate.
    config.train = dict(num_epochs=3, eval_every_steps=50, eval_rows=0, patience=5)
    return config
