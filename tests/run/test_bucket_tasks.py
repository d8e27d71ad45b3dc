"""The error of a batch does not depend on how far its rows are filled up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipe_runs import OF_TEXTS, write_examples

from slimjax import tasks
from slimjax.config import override, read_config
from slimjax.run.blueprints import make_blueprint
from slimjax.tasks.error import make_error_fn
from slimjax.train.config import make_run_config
from slimjax.train.state import init_params


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_TEXTS)
def test_the_error_of_a_batch_is_that_of_its_whole_rows(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    settings = {
        "data.source": write_examples(tmp_path / "examples.jsonl", name),
        "data.tokenizer": "bytes",
        "data.seq_len": 96,
        "data.buckets": "[24,48]",
        "data.batch_size": 4,
        "data.source_vocab_size": 0,
        "model.width": 16,
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.mlp_dim": 16,
        "model.dropout": 0,
        "model.dtype": "float32",
    }
    changes = [(key, str(value)) for key, value in settings.items()]
    run = make_run_config(override(read_config(name), changes))
    data = tasks.get(name).load(run.data, head=run.head)
    blueprint = make_blueprint(run, data.outline)
    variables = init_params(blueprint.model, 0)
    error_fn = make_error_fn(blueprint.task, blueprint.model)
    compared = set()
    for step in range(40):
        length, rows = data.buckets.choose(step, 4, 0)
        if length in compared or length == 96:
            continue
        compared.add(length)
        key = jax.random.key(1)
        batches = data.training_batch(step, 4, 0), data.rows("train", rows)
        cut, whole = (
            error_fn(variables, jax.tree.map(jnp.asarray, batch), key)[0]
            for batch in batches
        )
        np.testing.assert_allclose(cut, whole, rtol=2e-5)
    assert compared
