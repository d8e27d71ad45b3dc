"""The library transformers reads the same weights and computes the same."""

import gguf_models as files
import llama_by_hand
import numpy as np
import pytest

from slimjax.interop.gguf_reading import read_gguf

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate", reason="transformers reads no GGUF files without it")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TOKENS = np.random.default_rng(0).integers(0, files.VOCAB, 20).tolist()


def load(path, kind="AutoModelForCausalLM"):
    cls = getattr(transformers, kind)
    return cls.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    ).eval()


def llama(path, **more):
    return files.llama_file(path, tokenizer=files.byte_level_settings("smollm"), **more)


MAKERS = {
    "llama": llama,
    "rounded": lambda path: llama(path, kind="Q4_1"),
    "untied": lambda path: llama(path, tied=False),
    "qwen2": lambda path: files.llama_file(
        path,
        arch="qwen2",
        biases=True,
        tokenizer=files.byte_level_settings("qwen2"),
    ),
    # Its reader does not take the number of positions from the file.
    "gpt2": lambda path: files.gpt2_file(path, length=1024),
}


@pytest.mark.parametrize("name", MAKERS)
def test_weights_are_the_same(tmp_path, name):
    path = MAKERS[name](tmp_path / "m.gguf")
    model, theirs = read_gguf(path), load(path)
    weights = theirs.state_dict()
    for key, tensor in model.tensors.items():
        np.testing.assert_array_equal(tensor.read(), weights[key].numpy(), key)
    kept = {k for k in weights if not k.endswith((".attn.bias", "masked_bias"))}
    assert kept - model.tensors.keys() <= {"lm_head.weight"}


@pytest.mark.parametrize("name", ["llama", "rounded", "untied", "qwen2"])
def test_logits_are_the_same(tmp_path, name):
    path = MAKERS[name](tmp_path / "m.gguf")
    with torch.no_grad():
        found = load(path)(torch.tensor([TOKENS])).logits[0].numpy()
    expected = llama_by_hand.logits_of(read_gguf(path), TOKENS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "llama3"])
def test_scaled_positions_are_the_same(kind):
    """The one rule that they tell in numbers, and we by divisors."""
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 8.0}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope["original_max_position_embeddings"] = 64
    config = transformers.LlamaConfig(
        hidden_size=64, num_attention_heads=4, rope_parameters=dict(rope)
    )
    module = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    found = module.inv_freq.numpy()
    x = np.zeros((2, 1, 16))
    x[:, :, :8] = 1
    turned = llama_by_hand.turn(x, {"rope_parameters": rope})
    np.testing.assert_allclose(turned[1, 0, :8], np.cos(found), atol=1e-6)
