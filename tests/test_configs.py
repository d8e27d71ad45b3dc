"""Every recipe is a config that can be built and traced."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.models.decoder import Decoder, abstract_variables
from slimjax.run.feasible import check_budget
from slimjax.run.loop import vocab_size_of
from slimjax.train.config import check_same_run, make_run_config

CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_can_be_built_and_traced(path):
    run = make_run_config(read_config(path))
    model = run.model.build(vocab_size_of(run.data))
    check_budget(run, model)
    tokens = jax.ShapeDtypeStruct((2, run.data.seq_len), np.int32)
    variables = jax.eval_shape(lambda: abstract_variables(model))
    logits = jax.eval_shape(Decoder(model).apply, variables, tokens)
    assert logits.shape == (2, run.data.seq_len, model.vocab_size)
    assert logits.dtype == jnp.float32


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
    longer = make_run_config(override(plain, [("train.num_steps", "99")]))
    with pytest.raises(ConfigError, match=r"train\.num_steps=99.*continue_from"):
        check_same_run(run.as_dict(), longer)
    assert run.hash() != longer.hash()
    assert run.hash() == make_run_config(override(plain, free)).hash()
