"""Imported models compute what transformers computes with the same files."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from foreign_models import (  # noqa: E402
    MODELS,
    make_model,
    save_model,
    save_tokenizer,
)

from slimjax.generate.model import load  # noqa: E402
from slimjax.interop.hf_reading import read_folder  # noqa: E402
from slimjax.interop.importing import understand  # noqa: E402
from slimjax.interop.run_folders import write_run_folder  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
DECODERS = [
    name for name in MODELS if MODELS[name][0].endswith(("CausalLM", "HeadModel"))
]
ENCODERS = [name for name in MODELS if "ert" in name]


def run_folder(tmp_path, name, **options):
    """Returns a model of transformers, and ours of the same files."""
    theirs = save_model(tmp_path / "theirs", name, **options)
    imported = understand(read_folder(tmp_path / "theirs"), str(tmp_path / "ours"))
    write_run_folder(imported, tmp_path / "ours", "hf")
    return theirs, load(tmp_path / "ours")


def random_tokens(model, rows=3, length=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(5, model.config.vocab_size, (rows, length)).astype(np.int32)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_score_the_next_token_alike(tmp_path, name):
    theirs, ours = run_folder(tmp_path, name)
    tokens = random_tokens(ours, length=30)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens).long()).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours.apply(tokens), expected, atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_answer_alike_and_ignore_padding(tmp_path, name):
    theirs, ours = run_folder(tmp_path, name)
    tokens, pad = random_tokens(ours), ours.tokenizer.pad_id
    tokens[0, 12:] = pad
    mask = tokens != pad
    with torch.no_grad():
        own = theirs(torch.tensor(tokens).long(), torch.tensor(mask).long())
    expected = own[0].numpy()
    inputs = {"tokens": jnp.asarray(tokens), "tokens_segments": jnp.int32(mask)}
    network = ours.config.module()
    if MODELS[name][0].endswith("Model"):
        found = network.apply(ours.params, inputs, method="streams")[-1]
    else:
        readouts = network.apply(ours.params, inputs)
        found = readouts[ours.config.heads[0].name].logits()
    found = np.asarray(found)
    if name == "bert-tags":
        names = list(ours.codecs["tags"].names)
        order = [names.index(n) for n in MODELS[name][1]["id2label"].values()]
        found = found[..., order]
    if found.ndim == 3:
        found, expected = found[mask], expected[mask]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_encoder_decoders_score_the_next_token_alike(tmp_path, name):
    theirs, ours = run_folder(tmp_path, name)
    source, target = random_tokens(ours, seed=1), random_tokens(ours, length=30)
    source[1, 9:] = ours.tokenizer.pad_id
    mask = source != ours.tokenizer.pad_id
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(source).long(),
            attention_mask=torch.tensor(mask).long(),
            decoder_input_ids=torch.tensor(target).long(),
        ).logits.numpy()
    inputs = {"source": jnp.asarray(source), "tokens": jnp.asarray(target)}
    inputs["source_segments"] = mask.astype(np.int32)
    found = ours.config.module().apply(ours.params, inputs)["tokens"].logits()
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_parts_and_bfloat16_are_read(tmp_path):
    theirs = make_model("llama").bfloat16()
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    save_tokenizer(tmp_path / "theirs", "llama")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").is_file()
    imported = understand(read_folder(tmp_path / "theirs"), str(tmp_path / "ours"))
    write_run_folder(imported, tmp_path / "ours", "hf")
    ours = load(tmp_path / "ours")
    tokens = random_tokens(ours)
    with torch.no_grad():
        expected = theirs.float()(torch.tensor(tokens).long()).logits.numpy()
    np.testing.assert_allclose(ours.apply(tokens), expected, atol=1e-4)
