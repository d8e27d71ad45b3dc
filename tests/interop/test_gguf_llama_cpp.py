"""What is read and written is what llama.cpp computes; left out where it is missing."""

import dataclasses

import gguf_models as files
import llama_by_hand
import llama_cpp_runs
import numpy as np
import pytest

from slimjax.interop.foreign import Tensor
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_rope import llama3_divisors
from slimjax.interop.gguf_writing import write_gguf

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
TOLERANCE = 1e-3
TOKENS = np.random.default_rng(0).integers(0, files.VOCAB, 48).tolist()
LAYERS = {
    "whole": [(4, 2, 64), (4, 2, 64)],
    "ragged": [(4, 2, 64), (2, 1, 96), (6, 3, 32)],
    "no attention first": [(0, 0, 64), (4, 2, 96)],
    "no attention last": [(4, 2, 64), (0, 0, 32)],
    "no mlp first": [(4, 4, 0), (2, 2, 64)],
    "no mlp last": [(4, 2, 64), (2, 1, 0)],
    "neither first": [(0, 0, 0), (4, 2, 64), (1, 1, 32)],
    "neither last": [(4, 2, 64), (1, 1, 32), (0, 0, 0)],
    "neither between": [(3, 3, 64), (0, 0, 0), (0, 0, 32)],
    "attention alone": [(0, 0, 0), (2, 1, 0)],
    "mlp alone": [(0, 0, 64), (0, 0, 32)],
    "nothing": [(0, 0, 0)],
}


def random_layers(seed):
    random = np.random.default_rng(seed)
    layers = []
    for _ in range(random.integers(1, 7)):
        kv_heads, each = random.integers(0, 4), random.integers(1, 4)
        mlp = 32 * random.integers(0, 4)
        layers.append((int(kv_heads * each), int(kv_heads), int(mlp)))
    return layers


def make_model(layers, *, biases=False, width=40, head_dim=16, tied=True):
    """Returns a model that is in no file, with layers of any shape."""
    arrays = files.llama_tensors(
        layers, width, head_dim, files.VOCAB, tied=tied, biases=biases
    )
    names = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
    own = {str(i): dict(zip(names, l, strict=True)) for i, l in enumerate(layers)}
    config = {
        "model_type": "qwen2" if biases else "llama",
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "head_dim": head_dim,
        "vocab_size": files.VOCAB,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        "per_layer_config": own,
        **dict(zip(names, (4, 2, 64), strict=True)),
    }
    tensors = {hf_name(name): Tensor.of(array) for name, array in arrays.items()}
    return llama_foreign(config, tensors)


def llama_foreign(config, tensors):
    from slimjax.interop.foreign import Foreign

    return Foreign(config, tensors)


def hf_name(name):
    """Returns the Hugging Face name; rows need no order in random weights."""
    words = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "output": "lm_head",
    }
    *place, word, kind = name.split(".")
    start = f"model.layers.{place[1]}." if place else ""
    return f"{start}{words[word]}.{kind}"


def check(path, model):
    expected = llama_by_hand.logits_of(model, TOKENS)
    found = llama_cpp_runs.logits_of(path, TOKENS)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def check_greedy(path, model):
    tokens = TOKENS[:5]
    found = llama_cpp_runs.continue_greedily(path, tokens, 64)
    for token in found:
        logits = llama_by_hand.logits_of(model, tokens)[-1]
        assert token == int(logits.argmax())
        tokens = [*tokens, token]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_any_shape_compute_the_same(tmp_path, name):
    model = make_model(LAYERS[name])
    written = write_gguf(model, tmp_path / "m.gguf", "F32")
    assert written.architecture == ("llama" if name == "whole" else "deci")
    assert written.difference == 0
    check(written.path, model)
    check(written.path, read_gguf(written.path))


@pytest.mark.parametrize("seed", range(8))
def test_random_shapes_compute_and_write_the_same(tmp_path, seed):
    model = make_model(random_layers(seed), tied=seed % 2 == 0)
    written = write_gguf(model, tmp_path / "m.gguf", "F32")
    check(written.path, model)
    check_greedy(written.path, model)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_any_shape_may_have_biases(tmp_path, name):
    """The loader of deci takes biases of queries of the length that each layer has."""
    model = make_model(LAYERS[name], biases=True)
    written = write_gguf(model, tmp_path / "m.gguf", "F32")
    check(written.path, model)


def test_a_uniform_qwen2_computes_the_same(tmp_path):
    model = make_model([(4, 2, 64)] * 2, biases=True, width=64)
    written = write_gguf(model, tmp_path / "m.gguf", "F32")
    assert written.architecture == "qwen2"
    check(written.path, model)


@pytest.mark.parametrize("kind", ["linear", "llama3"])
@pytest.mark.parametrize("layers", ["whole", "no attention first"])
def test_scaled_positions_compute_the_same(tmp_path, kind, layers):
    model = make_model(LAYERS[layers])
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 8.0}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope["original_max_position_embeddings"] = 64
        assert len(set(llama3_divisors(rope, 16).tolist())) > 3
    model = dataclasses.replace(model, config=model.config | {"rope_parameters": rope})
    written = write_gguf(model, tmp_path / "m.gguf", "F32")
    check(written.path, model)
    check(written.path, read_gguf(written.path))


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0", "Q4_1"])
def test_rounded_files_hold_the_weights_that_llama_cpp_reads(tmp_path, kind):
    """It rounds activations too, so it computes with the weights in float32."""
    model = make_model([(4, 2, 64), (2, 2, 96)], width=64)
    path = write_gguf(model, tmp_path / "m.gguf", kind).path
    plain = llama_cpp_runs.requantize(path, tmp_path / "plain.gguf")
    check(plain, read_gguf(path))


def random_lines(count):
    """Returns lines of prose, code, Chinese and control characters."""
    random = np.random.default_rng(1)
    words = [*files.TEXT.split(), "Model", "12345", "x2", "汉字", "é", "WE'LL"]
    marks = [
        "  ",
        " ",
        "\t",
        "\n",
        "\n\n",
        "\r\n",
        "...",
        " -- ",
        "(",
        ")",
        "=",
        "\x01",
    ]
    lines = []
    for number in range(count):
        if number % 4 == 3:
            codes = random.integers(0x4E00, 0x9FFF, 12)
            lines.append("".join(map(chr, codes)) + str(random.integers(9999)))
            continue
        parts = []
        for _ in range(random.integers(1, 20)):
            parts += [words[random.integers(len(words))]]
            parts += [marks[random.integers(len(marks) if number % 2 else 2)]]
        lines.append("".join(parts))
    return lines


def encoder(model):
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("pre", ["smollm", "qwen2", "gpt-2", "llama-bpe", "pieces"])
def test_tokenizers_agree(tmp_path, pre):
    settings = (
        files.sentence_piece_settings()
        if pre == "pieces"
        else files.byte_level_settings(pre)
    )
    size = len(settings["ggml.tokens"])
    path = files.llama_file(tmp_path / "m.gguf", vocab=size, tokenizer=settings)
    theirs = llama_cpp_runs.load(path)
    model = read_gguf(path)
    encode = encoder(model)
    for text in random_lines(2000):
        assert encode(text) == llama_cpp_runs.ids_of(theirs, text), repr(text)
    again = write_gguf(model, tmp_path / "again.gguf", "F32").path
    written = llama_cpp_runs.load(again)
    for text in random_lines(500):
        assert encode(text) == llama_cpp_runs.ids_of(written, text), repr(text)


def test_words_of_bert_agree(tmp_path):
    path = files.bert_file(tmp_path / "m.gguf")
    theirs = llama_cpp_runs.load(path, vocab_only=True)
    encode = encoder(read_gguf(path))
    for text in random_lines(2000):
        assert encode(text) == llama_cpp_runs.ids_of(theirs, text), repr(text)


def rebuild(model, kind):
    """Returns transformers' model of what was read."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = getattr(transformers, f"{kind}Config")(**model.config)
    name, options = model.config["architectures"][0], {}
    if kind == "Bert":
        options = {"add_pooling_layer": False}
    theirs = getattr(transformers, name)(config, **options).eval()
    arrays = {k: torch.from_numpy(t.read()) for k, t in model.tensors.items()}
    missing, unexpected = theirs.load_state_dict(arrays, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    theirs.tie_weights()
    return theirs


@pytest.mark.filterwarnings("ignore")
def test_gpt2_computes_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    path = files.gpt2_file(tmp_path / "m.gguf")
    with torch.no_grad():
        theirs = rebuild(read_gguf(path), "GPT2")
        expected = theirs(torch.tensor([TOKENS])).logits[0].numpy()
    found = llama_cpp_runs.logits_of(path, TOKENS)
    # llama.cpp looks this activation up in a table of numbers in 16 bits.
    np.testing.assert_allclose(found, expected, atol=10 * TOLERANCE)


@pytest.mark.filterwarnings("ignore")
def test_bert_computes_the_same(tmp_path):
    """Vectors of a text: the mean over its tokens, [CLS] and [SEP] among them."""
    torch = pytest.importorskip("torch")
    import tokenizers

    path = files.bert_file(tmp_path / "m.gguf")
    model = read_gguf(path)
    tokenizer = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    text = "In the beginning there was a model of many layers"
    theirs = rebuild(model, "Bert")
    with torch.no_grad():
        ids = torch.tensor([tokenizer.encode(text).ids])
        expected = theirs(ids).last_hidden_state[0].mean(0).numpy()
    other = llama_cpp_runs.load(path, length=64, embedding=True)
    np.testing.assert_allclose(other.embed(text), expected, atol=TOLERANCE)


FILE_TYPES = {
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_M": 12,
    "Q4_K_M": 15,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ3_M": 27,
    "IQ4_XS": 30,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
}
"""Types of files that llama.cpp writes without an importance matrix."""


@pytest.mark.parametrize("width", [256, 192])
@pytest.mark.parametrize("name", FILE_TYPES)
def test_files_of_llama_cpp_are_read_as_it_reads_them(tmp_path, name, width):
    """A width that its blocks do not fit makes it choose other types."""
    layers = [(4, 2, 256)] * 2
    tokenizer = files.byte_level_settings("smollm")
    path = files.llama_file(
        tmp_path / "m.gguf",
        layers,
        width=width,
        head_dim=width // 4,
        tokenizer=tokenizer,
    )
    rounded = tmp_path / "rounded.gguf"
    llama_cpp_runs.requantize(path, rounded, FILE_TYPES[name])
    plain = llama_cpp_runs.requantize(rounded, tmp_path / "plain.gguf")
    found, expected = read_gguf(rounded), read_gguf(plain)
    assert len({tensor.dtype for tensor in found.tensors.values()}) > 1
    for key, tensor in expected.tensors.items():
        actual = found.tensors[key].read()
        np.testing.assert_allclose(actual, tensor.read(), atol=1e-6, err_msg=key)
