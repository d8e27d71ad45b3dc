"""The error of a batch does not depend on how far its rows are filled up."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax import tasks
from slimjax.config import override, read_config
from slimjax.run.blueprints import make_blueprint
from slimjax.tasks.error import make_error_fn
from slimjax.train.config import make_run_config
from slimjax.train.state import init_params

WORDS = ["a red fox", "one", "the old grey dog barks", "two small birds sing here"]
NAMES = [("Rome", "LOC"), ("Ada", "PER"), ("Acme", "ORG")]


def make_example(task, i):
    """Returns an example of a task, short or longer."""
    text = f"{WORDS[i % 4]} {i}"
    name, kind = NAMES[i % 3]
    answer = {"text": [name], "answer_start": [len(text) + 1]}
    return {
        "classification": {"text": text, "label": "ab"[i % 2]},
        "regression": {"text": text, "value": i / 7},
        "relation": {"text": text, "spans": [[0, 1], [1, 3]], "label": "ab"[i % 2]},
        "tagging": {
            "tokens": [*text.split(), name],
            "tags": ["O"] * len(text.split()) + [f"B-{kind}"],
        },
        "span_qa": {"question": kind, "context": f"{text} {name}", "answers": answer},
        "ranking": {"text": text, "text_pair": f"{name} {i}"},
        "seq2seq": {"source": text, "target": f"{name} {text}"},
        "chat": {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": name},
            ]
        },
        "extractive": {"sentences": [text, f"{name}."], "labels": [i % 2, 1]},
    }[task]


OF_IMAGES = {"caption", "image_classification", "image_question", "image_translation"}
"""Their texts are filled up in tests/models/test_fusion.py."""
TASKS = [name for name in tasks.names() if hasattr(tasks.get(name), "schema")]
TASKS = [name for name in TASKS if name not in OF_IMAGES]


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_error_of_a_batch_is_that_of_its_whole_rows(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(json.dumps(make_example(name, i)) for i in range(80)))
    settings = {
        "data.source": f"jsonl:{path}",
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
