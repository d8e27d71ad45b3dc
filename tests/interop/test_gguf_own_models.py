"""Models of ours, with layers of random shapes, compute and write the same there."""

import gguf_models as files
import jax
import jax.numpy as jnp
import llama_cpp_runs
import numpy as np
import pytest
from own_folders import config_of, ragged, random_model

from slimjax.errors import DataError
from slimjax.interop.exporting import make_foreign
from slimjax.interop.gguf_writing import write_gguf
from slimjax.trees import unflatten

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
NAMES = ["llama", "llama-tied", "llama-linear", "llama-llama3", "qwen2"]
TOLERANCE = 1e-3


def variables_of(weighed):
    weights = {path: weighed.read(path) for path in weighed.shapes}
    gates = jax.tree.map(
        lambda gate: np.ones(gate.shape, np.float32), weighed.model.abstract_gates()
    )
    return {"params": unflatten(weights), "gates": gates}


def scorer(weighed, length):
    """Returns our logits of each position of a row, filled up to one length."""
    network, head = weighed.model.module(), weighed.model.heads[0]
    variables = variables_of(weighed)

    @jax.jit
    def compute(tokens):
        return network.apply(variables, {"tokens": jnp.asarray(tokens)})[
            head.name
        ].logits()

    def score(tokens):
        row = np.zeros((1, length), np.int32)
        row[0, : len(tokens)] = tokens
        return np.asarray(compute(row), np.float32)[0, : len(tokens)]

    return score


def check(folder, config, seed=0):
    """Holds that logits and the 64 next tokens are the same."""
    weighed = random_model(folder / "model", config, seed)
    written = write_gguf(make_foreign(weighed), folder / "m.gguf", "F32")
    score = scorer(weighed, 96)
    size = weighed.model.main.num_inputs
    tokens = np.random.default_rng(seed).integers(0, size, 32).tolist()
    expected = score(tokens)
    assert np.abs(expected).max() > 0.5
    found = llama_cpp_runs.logits_of(written.path, tokens)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    mine = tokens[:8]
    for _ in range(64):
        mine = [*mine, int(score(mine)[-1].argmax())]
    assert llama_cpp_runs.continue_greedily(written.path, tokens[:8], 64) == mine[8:]
    return written


@pytest.mark.parametrize("name", NAMES)
def test_models_of_ours_compute_and_write_the_same(tmp_path, name):
    assert check(tmp_path, config_of(name)).architecture in ("llama", "qwen2")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_models_whose_layers_differ_compute_and_write_the_same(tmp_path, name, seed):
    config = ragged(config_of(name, num_hidden_layers=5), seed)
    assert check(tmp_path, config, seed).architecture == "deci"


def test_a_window_is_refused(tmp_path):
    weighed = random_model(tmp_path / "model", config_of("mistral"))
    with pytest.raises(DataError, match="sliding_window=7"):
        write_gguf(make_foreign(weighed), tmp_path / "m.gguf")


def test_texts_are_cut_alike(tmp_path):
    weighed = random_model(tmp_path / "model", config_of("llama"))
    path = write_gguf(make_foreign(weighed), tmp_path / "m.gguf").path
    theirs, ours = llama_cpp_runs.load(path), weighed.codecs["tokens"]
    for line in files.TEXT.splitlines():
        assert llama_cpp_runs.ids_of(theirs, line) == ours.encode(line).tolist()
