"""Every recipe is a config that can be built and traced."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax import tasks
from slimjax.config import override, read_config
from slimjax.data.domains import Domains
from slimjax.data.outline import Field, Outline
from slimjax.errors import ConfigError
from slimjax.run.blueprints import expected_outline, make_blueprint
from slimjax.run.feasible import check_budget
from slimjax.tasks.error import make_outputs_fn
from slimjax.train.config import check_same_run, make_run_config

CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_can_be_built_and_traced(path):
    run = make_run_config(read_config(path))
    if run.model.init_from:  # Its shape is in a folder.
        assert run.stated
        return
    outline = expected_outline(run)
    if outline is None:  # Its sizes are known when its data are read.
        assert run.task != "lm"
        return
    blueprint = make_blueprint(run, outline)
    check_budget(blueprint)
    trace(blueprint)


def trace(blueprint):
    """Asserts that a model has a loss and a number of targets for each row."""
    fields, model = blueprint.outline.fields, blueprint.model
    batch = {
        name: jax.ShapeDtypeStruct((2, *field.shape), np.dtype(field.dtype))
        for name, field in fields.items()
    }
    outputs = make_outputs_fn(blueprint.task, model)
    variables = jax.eval_shape(lambda: blueprint.abstract_params)
    rows = jax.eval_shape(outputs, variables, batch)
    assert rows["nats"].shape == rows["targets"].shape == (2,)
    assert rows["nats"].dtype == jnp.float32


PICTURE = {"image_height": 32, "image_width": 32, "image_channels": 3}
GREY = {"image_height": 28, "image_width": 28, "image_channels": 1}
MADE_UP = {
    "image_question": {**PICTURE, "vocab": 512, "classes": 13},
    "image_classification": {**PICTURE, "classes": 7},
    "mnist_cnn": {**GREY, "classes": 10},
    "fashion_cnn": {**GREY, "classes": 10},
    "stamps": {**PICTURE, "classes": 8},
    "domains": {"vocab": 8192, "classes": 2},
}
"""Sizes of data that recipes might read, where only the data tell them."""


def make_up_outline(run, sizes):
    """Returns what would be known of data, without any."""
    fields, codecs = {}, {}
    if "image_height" in sizes:
        shape = tuple(sizes[name] for name in PICTURE)
        fields["image"] = Field(shape, "uint8", (None, None, None))
    if "vocab" in sizes:
        fields["tokens"] = Field((run.data.seq_len,), "int32", ("positions",))
    target = "answer" if run.task == "image_question" else "label"
    fields[target] = Field((), "int32", (), fill=-1)
    if run.data.domains:
        fields["domain"] = Field((), "int32", (), fill=-1)
        codecs["domain"] = Domains(tuple(sorted(run.data.domains)))
    lengths = {"": run.data.seq_len} if "vocab" in sizes else {}
    special = {"pad": 0, "bos": 1, "eos": 2}
    return Outline(fields, sizes, lengths, special, codecs)


@pytest.mark.parametrize("name", MADE_UP)
def test_a_recipe_of_labelled_data_can_be_built_and_traced(name):
    run = make_run_config(read_config(f"configs/{name}.py"))
    blueprint = make_blueprint(run, make_up_outline(run, MADE_UP[name]))
    check_budget(blueprint)
    trace(blueprint)


def made_up_example(name, i):
    """Returns an example of the data that a recipe is for."""
    words = ["Ada", "saw", f"x{i}"]
    text, label = " ".join(words), "ab"[i % 2]
    pair = {"text": text, "text_pair": f"{i} {text}"}
    return {
        "classification": {"text": text, "label": label},
        "regression": {"text": text, "value": i / 7},
        "tagging": {"tokens": words, "tags": ["B-P", "O", "O"]},
        "relation": pair | {"label": label},
        "span_qa": {"question": f"Who {i}?", "context": text}
        | {"answers": {"text": ["Ada"], "answer_start": [0]}},
        "ranking": pair,
        "extractive": {"document": f"{text}. It is {i}. No.", "summary": text},
        "mnist_mlp": {"features": [i / 7] * 784, "label": label},
    }[name]


OF_EXAMPLES = ("classification", "regression", "tagging", "relation", "span_qa")
OF_EXAMPLES += ("ranking", "extractive", "mnist_mlp")


@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_a_recipe_of_examples_can_be_built_and_traced(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps(made_up_example(name, i)) for i in range(80)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    changes = [("data.source", f"jsonl:{path}"), ("data.tokenizer", "bytes")]
    if name == "mnist_mlp":
        fields = '{"features": "features", "label": "label"}'
        changes = [changes[0], ("data.fields", fields)]
    run = make_run_config(override(read_config(f"configs/{name}.py"), changes))
    outline = tasks.get(run.task).load(run.data, head=run.head).outline
    if "vocab" in outline.sizes:
        sizes = outline.sizes | {"vocab": run.data.vocab_size}
        outline = dataclasses.replace(outline, sizes=sizes)
    blueprint = make_blueprint(run, outline)
    check_budget(blueprint)
    trace(blueprint)


def test_every_recipe_is_traced_or_starts_from_a_folder():
    traced = {*OF_EXAMPLES, *MADE_UP}
    for path in CONFIGS:
        run = make_run_config(read_config(path))
        if not run.model.init_from and expected_outline(run) is None:
            assert path.stem in traced


def test_a_dense_run_has_no_seams():
    changes = [("objective.strategy", "none"), ("objective.budget", "")]
    dense = make_run_config(override(read_config("configs/tiny_test.py"), changes))
    assert dense.seam_steps == ()


def test_only_what_may_change_may_change():
    plain = read_config("configs/tiny_test.py")
    run = make_run_config(plain)
    free = [("train.eval_every_steps", "3"), ("mesh.data", "1")]
    check_same_run(run.as_dict(), make_run_config(override(plain, free)))
    older = {name: block for name, block in run.as_dict().items() if name != "distill"}
    check_same_run(older, run)
    moved = [("data.source", "text:moved/*.txt"), ("data.encoding", "latin-1")]
    check_same_run(run.as_dict(), make_run_config(override(plain, moved)))
    assert run.hash() != make_run_config(override(plain, moved)).hash()
    longer = make_run_config(override(plain, [("train.num_steps", "99")]))
    with pytest.raises(ConfigError, match=r"train\.num_steps=99.*continue_from"):
        check_same_run(run.as_dict(), longer)
    assert run.hash() != longer.hash()
    assert run.hash() == make_run_config(override(plain, free)).hash()


def test_tokenizers_and_teachers_may_be_moved_but_not_become_others():
    plain = read_config("configs/tiny_test.py")
    make = lambda *changes: make_run_config(override(plain, list(changes)))
    tokenizer, teacher = ("data.tokenizer", "a/t.json"), ("distill.teacher", "runs/a")
    weight = ("distill.weight", "0.5")
    old = make(tokenizer, teacher, weight).as_dict()
    new = ("data.tokenizer", "b/t.json"), ("distill.teacher", "runs/b"), weight
    check_same_run(old, make(*new))
    with pytest.raises(ConfigError, match=r"config\.data\.tokenizer='bytes'"):
        check_same_run(old, make(("data.tokenizer", "bytes"), teacher, weight))
    with pytest.raises(ConfigError, match=r"config\.distill\.teacher='start'"):
        check_same_run(old, make(tokenizer, ("distill.teacher", "start"), weight))
