"""A text classifier of several domains: one shared trunk, and adapters of each domain.

Run: python experiments/domains/reviews.py
     slimjax train --config=domains --workdir=runs/reviews

The data are opinions on films and on goods (PyPI ``vaderSentiment``). Each domain has
files of its own, with a ``text`` and a ``label`` in each example; others are named by
``--config.data.domains='{"movie": "csv:movie.csv", "shop": "csv:shop.csv"}'``. The
validation split is drawn from all of them. Examples to be predicted name their domain
in a field ``domain``; those of another domain, or of none, take the trunk alone.

Training draws domains by the square roots of their rows, so that a small one counts.
Half of the bytes go in two seams, also those of adapters that are not worth them: the
report says which domain kept what. docs/domains.md has more, and
experiments/domains/README.md results.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.data = dict(vocab_size=8_192, seq_len=48)
    folder = "runs/domains/data/split0"  # Of reviews.py.
    config.data.domains = {
        name: f"jsonl:{folder}/{name}-train.jsonl" for name in ("movie", "shop")
    }
    config.data.temperature = 2.0  # Shares by the square roots of the rows.
    config.data.fields = dict(text="text", label="label")
    config.data.batch_size = 64  # Examples a step.
    config.model = dict(kind="encoder", width=64, num_layers=2, num_heads=4)
    config.model.adapters = dict(width=16, skip=0.1)  # 1 row of 10 trains the trunk.
    config.model.mlp_dim = 128
    config.model.positions = "none"  # Order helps only where there are more data.
    config.model.pool = "mean"
    config.model.dropout = 0.5
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=50, weight_decay=5.0)
    config.resize = dict(first_step=200, every_steps=100, max_seams=2)
    config.train = dict(num_steps=400, eval_every_steps=50, eval_rows=1_024)
    return config
