"""Every recipe is a config that can be built and traced."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.config import override, read_config
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
