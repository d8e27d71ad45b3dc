"""A GGUF file is read whole and as it is meant, or refused in one line."""

import gguf
import gguf_models as files
import numpy as np
import pytest

from slimjax.errors import DataError
from slimjax.interop.gguf_header import read_header
from slimjax.interop.gguf_numbers import read_numbers
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_rope import llama3_divisors

LAYER = "model.layers.1."


def test_a_llama_has_the_config_of_its_settings(tmp_path):
    path = files.llama_file(tmp_path / "m.gguf", [(6, 3, 40)] * 2, width=24, head_dim=8)
    config = read_gguf(path).config
    expected = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=6)
    expected |= dict(num_key_value_heads=3, head_dim=8, intermediate_size=40)
    expected |= dict(rms_norm_eps=1e-5, vocab_size=files.VOCAB, model_type="llama")
    assert expected.items() <= config.items()
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 1e4}
    assert config["tie_word_embeddings"]
    assert "per_layer_config" not in config


def test_rows_of_queries_and_keys_leave_their_pairs(tmp_path):
    path = files.llama_file(tmp_path / "m.gguf", [(6, 3, 40)] * 2, width=24, head_dim=8)
    model, header = read_gguf(path), read_header(path)
    for letter, heads in (("q", 6), ("k", 3)):
        rows = read_numbers(header, f"blk.1.attn_{letter}.weight")
        found = model.tensors[f"{LAYER}self_attn.{letter}_proj.weight"].read()
        pairs = rows.reshape(heads, 4, 2, 24)
        expected = np.concatenate([pairs[:, :, 0], pairs[:, :, 1]], axis=1)
        np.testing.assert_array_equal(found, expected.reshape(-1, 24))
    values = read_numbers(header, "blk.1.attn_v.weight")
    found = model.tensors[f"{LAYER}self_attn.v_proj.weight"].read()
    np.testing.assert_array_equal(found, values)


def test_qwen2_is_not_permuted_and_has_biases(tmp_path):
    path = files.llama_file(tmp_path / "m.gguf", arch="qwen2", biases=True)
    model, header = read_gguf(path), read_header(path)
    assert model.config["model_type"] == "qwen2"
    for kind in ("weight", "bias"):
        found = model.tensors[f"{LAYER}self_attn.k_proj.{kind}"].read()
        expected = read_numbers(header, f"blk.1.attn_k.{kind}")
        np.testing.assert_array_equal(found, expected)


def test_deci_tells_each_layer(tmp_path):
    layers = [(4, 2, 64), (0, 0, 32), (2, 1, 96)]
    path = files.llama_file(tmp_path / "m.gguf", layers, arch="deci")
    model = read_gguf(path)
    own = model.config["per_layer_config"]
    names = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
    assert [tuple(own[str(i)][n] for n in names) for i in range(3)] == layers
    assert f"{LAYER}mlp.up_proj.weight" in model.tensors
    assert f"{LAYER}self_attn.q_proj.weight" not in model.tensors


def test_sublayers_of_zeros_in_deci_are_left_out(tmp_path):
    layers = [(1, 1, 64), (4, 2, 32)]
    zeros = {
        "blk.0.attn_output.weight": np.zeros((32, 8), np.float32),
        "blk.1.ffn_down.weight": np.zeros((32, 32), np.float32),
    }
    path = files.llama_file(tmp_path / "m.gguf", layers, arch="deci", extra=zeros)
    model = read_gguf(path)
    assert model.config["per_layer_config"]["0"]["num_attention_heads"] == 0
    assert model.config["per_layer_config"]["1"]["intermediate_size"] == 0
    assert model.config["num_attention_heads"] == 4
    assert f"{LAYER}self_attn.q_proj.weight" in model.tensors
    assert not any("layers.0.self_attn" in name for name in model.tensors)
    assert not any("layers.1.mlp" in name for name in model.tensors)


def test_gpt2_kernels_lie_the_other_way_round(tmp_path):
    path = files.gpt2_file(tmp_path / "m.gguf")
    model, header = read_gguf(path), read_header(path)
    found = model.tensors["transformer.h.1.attn.c_attn.weight"]
    assert found.shape == (32, 96)
    expected = read_numbers(header, "blk.1.attn_qkv.weight").T
    np.testing.assert_array_equal(found.read(), expected)
    assert model.config["n_inner"] == 128


def test_bert_has_its_tables_and_norms(tmp_path):
    model = read_gguf(files.bert_file(tmp_path / "m.gguf"))
    assert model.config["architectures"] == ["BertModel"]
    assert model.tensors["embeddings.token_type_embeddings.weight"].shape == (2, 32)
    name = "encoder.layer.1.attention.output.LayerNorm.bias"
    assert model.tensors[name].shape == (32,)


READABLE = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


@pytest.mark.parametrize("kind", READABLE)
def test_types_are_read_as_the_library_reads_them(tmp_path, kind):
    path = files.llama_file(tmp_path / "m.gguf", kind=kind)
    tensor = read_gguf(path).tensors[f"{LAYER}mlp.down_proj.weight"]
    assert tensor.dtype == kind
    wanted = files.llama_tensors([(4, 2, 64)] * 2, 32, 8, files.VOCAB)
    type_ = gguf.GGMLQuantizationType[kind]
    data = gguf.quants.quantize(wanted["blk.1.ffn_down.weight"], type_)
    expected = gguf.quants.dequantize(data, type_)
    np.testing.assert_array_equal(tensor.read(), expected)


@pytest.mark.parametrize("type_", list(gguf.GGMLQuantizationType))
def test_each_type_that_the_library_knows_is_read_or_refused(tmp_path, type_):
    block, size = gguf.GGML_QUANT_SIZES[type_]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    data = np.zeros((3, size * 256 // block), np.uint8)
    writer.add_tensor("a", data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    known = type_.name.startswith(("F16", "F32", "BF", "IQ", "TQ", "MX", "NV")) or (
        type_.name.startswith("Q") and type_.name not in ("Q8_1", "Q8_K")
    )
    if not known or type_.name == "Q1_0":
        with pytest.raises(DataError, match=f"type {type_.name}"):
            read_header(tmp_path / "m.gguf")
        return
    header = read_header(tmp_path / "m.gguf")
    assert read_numbers(header, "a").shape == (3, 256)


def test_equal_tables_are_one(tmp_path):
    same = files.llama_tensors([(4, 2, 64)] * 2, 32, 8, files.VOCAB)
    extra = {"output.weight": same["token_embd.weight"]}
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", extra=extra))
    assert model.config["tie_word_embeddings"]
    assert "lm_head.weight" not in model.tensors


def test_tables_that_rounding_parted_are_both_kept_with_a_warning(tmp_path, caplog):
    same = files.llama_tensors([(4, 2, 64)] * 2, 32, 8, files.VOCAB)
    extra = {"output.weight": same["token_embd.weight"] * 1.01}
    path = files.llama_file(tmp_path / "m.gguf", arch="qwen2", extra=extra)
    model = read_gguf(path)
    assert not model.config["tie_word_embeddings"]
    assert "lm_head.weight" in model.tensors
    assert "two tables of tokens" in caplog.text


def test_linear_scaling_is_kept(tmp_path):
    scaling = dict(rope__scaling__type="linear", rope__scaling__factor=4.0)
    path = files.llama_file(tmp_path / "m.gguf", **scaling)
    found = read_gguf(path).config["rope_parameters"]
    assert found == {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}


@pytest.mark.parametrize("factors", [(8.0, 1.0, 4.0, 8192), (32.0, 2.0, 6.0, 4096)])
def test_scaling_of_llama3_is_found_in_its_divisors(tmp_path, factors):
    names = ("factor", "low_freq_factor", "high_freq_factor")
    rope = dict(zip(names, factors[:3], strict=True), rope_theta=500_000.0)
    rope["original_max_position_embeddings"] = factors[3]
    extra = {"rope_freqs.weight": llama3_divisors(rope, 64)}
    path = files.llama_file(
        tmp_path / "m.gguf", head_dim=64, extra=extra, rope__freq_base=5e5
    )
    found = read_gguf(path).config["rope_parameters"]
    assert (found["rope_type"], found["factor"]) == ("llama3", factors[0])
    again = llama3_divisors(found, 64)
    np.testing.assert_allclose(again, llama3_divisors(rope, 64), rtol=1e-5)


REFUSED = {
    "sliding_window": dict(attention__sliding_window=64),
    "yarn": dict(rope__scaling__type="yarn"),
    "value_length": dict(attention__value_length=16),
    "rope.dimension_count": dict(rope__dimension_count=4),
    "expert_count": dict(expert_count=8, expert_used_count=2),
    "logit_scale": dict(logit_scale=2.0),
    "block_count": dict(block_count=10_000),
    "causal": dict(attention__causal=False),
    "head_count": dict(attention__head_count=3),
    "feed_forward_length": dict(feed_forward_length=65),
    "vocab_size": dict(vocab_size=7),
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_would_be_ignored_is_named_in_one_line(tmp_path, word):
    path = files.llama_file(tmp_path / "m.gguf", **REFUSED[word])
    word = {"head_count": "heads", "feed_forward_length": "ffn_"}.get(word, word)
    with pytest.raises(DataError, match=word) as error:
        read_gguf(path)
    assert len(str(error.value).splitlines()) == 1
    assert "m.gguf" in str(error.value)


def test_other_architectures_and_tensors_are_named(tmp_path):
    settings = files.llama_settings([(4, 2, 64)], 32, 8)
    path = files.write_gguf(tmp_path / "a.gguf", "mamba", settings, {})
    with pytest.raises(DataError, match="'mamba' is not supported"):
        read_gguf(path)
    extra = {"blk.0.attn_q_norm.weight": np.ones(8, np.float32)}
    with pytest.raises(DataError, match="attn_q_norm"):
        read_gguf(files.llama_file(tmp_path / "b.gguf", extra=extra))
    counts = dict(attention__head_count_kv=[0, 2])
    with pytest.raises(DataError, match="4 heads and 0 key/value"):
        read_gguf(files.llama_file(tmp_path / "c.gguf", arch="deci", **counts))


def test_a_tensor_that_is_missing_is_named(tmp_path):
    tensors = files.llama_tensors([(4, 2, 64)], 32, 8, files.VOCAB)
    del tensors["blk.0.ffn_norm.weight"]
    settings = files.llama_settings([(4, 2, 64)], 32, 8)
    path = files.write_gguf(tmp_path / "m.gguf", "llama", settings, tensors)
    with pytest.raises(DataError, match=r"blk\.0\.ffn_norm\.weight is missing"):
        read_gguf(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    down = np.ones((32, 64), np.float32)
    down[3, 4] = value
    extra = {"blk.1.ffn_down.weight": down}
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", extra=extra))
    with pytest.raises(DataError, match="not finite"):
        model.tensors[f"{LAYER}mlp.down_proj.weight"].read()


def test_a_part_of_a_split_model_is_refused(tmp_path):
    settings = files.llama_settings([(4, 2, 64)], 32, 8) | {"split.count": 2}
    path = files.write_gguf(tmp_path / "m.gguf", "llama", settings, {})
    with pytest.raises(DataError, match="gguf-split --merge"):
        read_gguf(path)
