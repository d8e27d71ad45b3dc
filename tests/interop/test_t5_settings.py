"""Settings and notes of T5."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from own_folders import config_of, random_model

from slimjax.generate.model import load
from slimjax.interop.exporting import make_foreign, weigh
from slimjax.interop.foreign import Tensor
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.trees import unflatten


def test_a_t5_trained_here_says_where_its_decoder_starts(tmp_path):
    weighed = random_model(tmp_path, config_of("t5"))
    tokenizer = weighed.codecs["tokens"]
    assert make_foreign(weighed).config["decoder_start_token_id"] == 0
    del tokenizer.files["config.json"]  # As of a model that was trained here.
    tokenizer.special["bos"] = tokenizer.bos_id = 3
    config = make_foreign(weighed).config
    assert config["decoder_start_token_id"] == config["bos_token_id"] == 3


@pytest.mark.parametrize("ties", [True, False])
def test_only_a_table_that_should_be_tied_has_a_note(tmp_path, ties):
    given = make_foreign(random_model(tmp_path, config_of("t5")))
    shape = given.tensors["shared.weight"].shape
    own = Tensor.of(np.ones(shape, np.float32))
    config = given.config | {"tie_word_embeddings": ties}
    tensors = {**given.tensors, "lm_head.weight": own}
    found = understand(
        dataclasses.replace(given, config=config, tensors=tensors), str(tmp_path)
    )
    assert any("although config.json ties them" in n for n in found.notes) == ties
    assert found.model.heads[0].table == "own"


def test_a_tied_table_without_a_scale_is_written_twice(tmp_path):
    """Transformers ties the tables, or takes the scale away, but by one setting."""
    weighed = random_model(tmp_path, config_of("t5", scale_decoder_outputs=False))
    given = make_foreign(weighed)
    assert given.config["tie_word_embeddings"] is False
    both = (given.tensors[name].read() for name in ("lm_head.weight", "shared.weight"))
    np.testing.assert_array_equal(*both)
    one = {n: t for n, t in given.tensors.items() if n != "lm_head.weight"}
    for tensors in (given.tensors, one):  # Older exports have one.
        found = understand(dataclasses.replace(given, tensors=tensors), str(tmp_path))
        assert found.model.heads[0].table == "tied"
        assert not found.notes
        paths = [path for path, _ in found.weights()]
        assert len(paths) == len(set(paths)) == len(found.plan.shapes)


def cut_width(whole, width: int):
    """Returns a T5 that kept its first channels, and its weights and gates."""
    towers = tuple(dataclasses.replace(t, width=width) for t in whole.model.towers)
    model = dataclasses.replace(whole.model, towers=towers)
    shapes = dataclasses.replace(whole, model=model).shapes
    weights = {
        path: jnp.asarray(whole.read(path)[tuple(map(slice, shape))])
        for path, shape in shapes.items()
    }
    gates = nn.meta.unbox(model.abstract_variables())["gates"]
    gates = jax.tree.map(lambda gate: jnp.ones(gate.shape), gates)
    return model, {"params": unflatten(weights), "gates": gates}


@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_a_t5_that_lost_channels_answers_alike_once_it_is_written(tmp_path, name):
    """Its scores have the scale of its first width; the format has that of the last."""
    whole = random_model(tmp_path / "whole", config_of(name))
    model, variables = cut_width(whole, whole.model.width - 4)
    assert model.heads[0].scale == whole.model.heads[0].scale
    foreign = make_foreign(weigh(model, variables, whole.task, whole.codecs))
    assert foreign.config["d_model"] == model.width
    write_run_folder(understand(foreign, "read"), tmp_path / "read", "hf")
    read = load(tmp_path / "read")
    rng, size = np.random.default_rng(0), model.main.num_inputs
    lengths = {"source": (2, 13), "tokens": (2, 9)}
    inputs = {n: jnp.asarray(rng.integers(3, size, y)) for n, y in lengths.items()}
    expected = model.module().apply(variables, inputs)["tokens"].logits()
    found = read.config.module().apply(read.params, inputs)["tokens"].logits()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)
