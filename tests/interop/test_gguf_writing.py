"""What is written is read again as it was, and what does not fit leaves no file."""

import dataclasses

import gguf_models as files
import numpy as np
import pytest

from slimjax.errors import ConfigError, DataError, SlimjaxError
from slimjax.interop import gguf_writing
from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.gguf_blocks import LEVELS, Blocks, half
from slimjax.interop.gguf_header import read_header
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_writing import TYPES, predict_bytes, write_gguf

RAGGED = [(4, 2, 64), (0, 0, 96), (2, 1, 32)]
MAKERS = {
    "llama": lambda path: files.llama_file(
        path, tokenizer=files.byte_level_settings("smollm")
    ),
    "untied": lambda path: files.llama_file(
        path, tied=False, tokenizer=files.byte_level_settings("llama-bpe")
    ),
    "pieces": lambda path: files.llama_file(
        path,
        vocab=len(files.sentence_piece_settings()["ggml.tokens"]),
        tokenizer=files.sentence_piece_settings(),
    ),
    "qwen2": lambda path: files.llama_file(
        path,
        arch="qwen2",
        biases=True,
        tokenizer=files.byte_level_settings("qwen2"),
    ),
    "deci": lambda path: files.llama_file(path, RAGGED, arch="deci"),
    "linear": lambda path: files.llama_file(
        path, rope__scaling__type="linear", rope__scaling__factor=2.0
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_read_and_written_is_the_same(tmp_path, name):
    source = MAKERS[name](tmp_path / "source.gguf")
    model = read_gguf(source)
    written = write_gguf(model, tmp_path / "copy.gguf", "F32")
    assert written.difference == 0
    assert written.num_bytes == written.path.stat().st_size
    again = read_gguf(written.path)
    assert again.config == model.config
    assert again.files == model.files
    assert list(again.tensors) == list(model.tensors)
    for key, tensor in model.tensors.items():
        np.testing.assert_array_equal(again.tensors[key].read(), tensor.read())
    old, new = (read_header(path).settings for path in (source, written.path))
    for key in old.keys() - {"tokenizer.ggml.scores"}:
        np.testing.assert_array_equal(new[key], old[key], err_msg=key)


@pytest.mark.parametrize("name", MAKERS)
def test_the_length_of_a_file_is_known_beforehand(tmp_path, name):
    model = read_gguf(MAKERS[name](tmp_path / "source.gguf"))
    hollow = {n: Tensor(t.shape, t.dtype, dict) for n, t in model.tensors.items()}
    for kind in ("F32", "F16"):
        predicted = predict_bytes(dataclasses.replace(model, tensors=hollow), kind)
        written = write_gguf(model, tmp_path / f"{kind}.gguf", kind)
        assert written.num_bytes == predicted


@pytest.mark.parametrize("kind", TYPES)
def test_files_of_a_type_are_written_again_without_a_difference(tmp_path, kind):
    """Blocks of 32 lie on the lattice that they came from."""
    layers = [(4, 2, 64), (4, 2, 64)]
    source = files.llama_file(tmp_path / "m.gguf", layers, kind="F32")
    first = write_gguf(read_gguf(source), tmp_path / "1.gguf", kind)
    second = write_gguf(read_gguf(first.path), tmp_path / "2.gguf", kind)
    assert (first.difference > 0) == (kind != "F32")
    if kind in ("F32", "F16", "Q8_0"):
        assert second.difference == 0
        assert second.path.read_bytes() == first.path.read_bytes()
    assert second.difference < 0.1 * first.difference or kind == "F32"


def test_the_table_keeps_eight_bits_where_others_have_four(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    path = write_gguf(model, tmp_path / "4.gguf", "Q4_0").path
    types = {name: entry.type for name, entry in read_header(path).tensors.items()}
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.ffn_up.weight"] == "Q4_0"
    assert types["blk.0.ffn_norm.weight"] == "F32"


def test_tied_tables_are_written_once(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    table = model.tensors["model.embed_tokens.weight"]
    twice = dataclasses.replace(
        model, tensors={**model.tensors, "lm_head.weight": table}
    )
    path = write_gguf(twice, tmp_path / "copy.gguf").path
    assert "output.weight" not in read_header(path).tensors


def without(model, number, sublayer):
    """Returns a model that lost one sublayer."""
    gone = {
        "attention": ("self_attn.", "input_layernorm."),
        "mlp": ("mlp.", "post_attention_layernorm."),
    }[sublayer]
    marks = tuple(f"model.layers.{number}.{word}" for word in gone)
    tensors = {k: t for k, t in model.tensors.items() if not k.startswith(marks)}
    empty = dict(num_attention_heads=0, num_key_value_heads=0)
    empty = empty if sublayer == "attention" else dict(intermediate_size=0)
    own = dict(model.config.get("per_layer_config", {}))
    own[str(number)] = own.get(str(number), {}) | empty
    config = model.config | {"per_layer_config": own}
    return dataclasses.replace(model, config=config, tensors=tensors)


def test_layers_without_a_sublayer_are_filled_with_zeros(tmp_path):
    layers = [(4, 2, 64)] * 3
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", layers))
    model = without(without(model, 0, "attention"), 2, "mlp")
    path = write_gguf(model, tmp_path / "copy.gguf", "F32").path
    settings = read_header(path).settings
    assert settings["deci.attention.head_count"].tolist() == [1, 4, 4]
    assert settings["deci.attention.head_count_kv"].tolist() == [1, 2, 2]
    assert settings["deci.feed_forward_length"].tolist() == [64, 64, 32]
    for key in ("attention.key_length", "rope.dimension_count"):
        assert settings[f"deci.{key}"] == 8
    again = read_gguf(path)
    assert list(again.tensors) == list(model.tensors)
    second = write_gguf(again, tmp_path / "second.gguf", "F32").path
    assert second.read_bytes() == path.read_bytes()


def test_a_layer_with_neither_is_left_out(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", [(4, 2, 64)] * 3))
    model = without(without(model, 1, "attention"), 1, "mlp")
    path = write_gguf(model, tmp_path / "copy.gguf", "F32").path
    again = read_gguf(path)
    assert again.config["num_hidden_layers"] == 2
    found = again.tensors["model.layers.1.mlp.up_proj.weight"].read()
    expected = model.tensors["model.layers.2.mlp.up_proj.weight"].read()
    np.testing.assert_array_equal(found, expected)


def refused(model, folder, match, kind="F16"):
    """Holds that a model is refused in one line, and no file is left."""
    before = sorted(folder.iterdir())
    with pytest.raises(SlimjaxError, match=match) as error:
        write_gguf(model, folder / "copy.gguf", kind)
    assert len(str(error.value).splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_other_families_and_types_are_refused(tmp_path):
    gpt2 = read_gguf(files.gpt2_file(tmp_path / "g.gguf"))
    bert = read_gguf(files.bert_file(tmp_path / "b.gguf"))
    for model in (gpt2, bert, Foreign({"model_type": "t5"}, {})):
        refused(model, tmp_path, "Use --format=hf, hf-padded or stablehlo")
    llama = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    refused(llama, tmp_path, "Q6_K", "Q6_K")
    with pytest.raises(ConfigError):
        write_gguf(gpt2, tmp_path / "copy.gguf")


def test_widths_that_blocks_cannot_hold_are_refused(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf", [(4, 2, 40)]))
    refused(model, tmp_path, r"down_proj.* rows of 40 .*resize\.multiple=32", "Q8_0")
    assert write_gguf(model, tmp_path / "copy.gguf", "F16").num_bytes


def change(model, config=None, **tensors):
    arrays = {k.replace("__", "."): Tensor.of(v) for k, v in tensors.items()}
    return dataclasses.replace(
        model,
        config=model.config | (config or {}),
        tensors={**model.tensors, **arrays},
    )


def test_what_a_file_cannot_tell_is_refused(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    window = dict(model_type="mistral", sliding_window=64)
    refused(change(model, window), tmp_path, "sliding_window")
    refused(change(model, dict(hidden_act="gelu")), tmp_path, "hidden_act")
    yarn = dict(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4})
    refused(change(model, yarn), tmp_path, "yarn")
    name = "model__layers__1__mlp__up_proj__weight"
    refused(change(model, **{name: np.ones((3, 32))}), tmp_path, "has the shape")
    many = np.full((64, 32), 1e5, np.float32)
    refused(change(model, **{name: many}), tmp_path, "F16 cannot hold")
    refused(change(model, **{name: many * np.nan}), tmp_path, "not finite")
    refused(change(model, other=np.ones(3)), tmp_path, "'other' has no place")
    refused(change(model, dict(tie_word_embeddings=False)), tmp_path, "lm_head")


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    path = write_gguf(model, tmp_path / "copy.gguf").path
    before = path.read_bytes()

    def fail(item):
        raise OSError(28, f"No space left on device: {item.type}")

    monkeypatch.setattr(gguf_writing, "encode", fail)
    with pytest.raises(DataError, match="No space left on device"):
        write_gguf(model, path, "F32")
    assert path.read_bytes() == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["copy.gguf", "m.gguf"]


def test_older_configs_are_understood(tmp_path):
    """Those of Hugging Face folders, without what has a usual value."""
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    gone = ("head_dim", "rope_parameters", "hidden_act")
    config = {k: v for k, v in model.config.items() if k not in gone}
    config |= {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    older = dataclasses.replace(model, config=config)
    again = read_gguf(write_gguf(older, tmp_path / "copy.gguf").path)
    assert again.config["head_dim"] == 8
    expected = {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}
    assert again.config["rope_parameters"] == expected


def rounded(kind, rows=64, columns=32):
    """Returns blocks that use only a few of their levels."""
    random = np.random.default_rng(1)
    least, most = LEVELS[kind]
    levels = random.integers(least // 2, most // 2 + 1, (rows, columns))
    steps = half(random.uniform(0.01, 0.1, (rows, columns // 32)))
    return Blocks(kind, levels, steps, half(-3 * steps) if kind == "Q4_1" else None)


@pytest.mark.parametrize("kind", LEVELS)
def test_what_is_rounded_already_is_written_as_it_is(tmp_path, kind):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    up = "model.layers.1.mlp.up_proj.weight"
    query = "model.layers.1.self_attn.q_proj.weight"
    blocks = {up: rounded(kind), query: rounded(kind, rows=32)}
    arrays = {name.replace(".", "__"): b.numbers() for name, b in blocks.items()}
    model = change(model, **arrays)
    path = write_gguf(model, tmp_path / "copy.gguf", "F32", blocks=blocks).path
    again = read_gguf(path)
    for name, own in blocks.items():
        assert again.tensors[name].dtype == kind
        np.testing.assert_array_equal(again.tensors[name].read(), own.numbers())
    nearest = write_gguf(model, tmp_path / "nearest.gguf", kind).path
    assert not np.array_equal(
        read_gguf(nearest).tensors[up].read(), blocks[up].numbers()
    )


def test_blocks_hold_only_what_their_type_can():
    ones = np.ones((2, 1), np.float32)
    with pytest.raises(ConfigError, match="levels from -8 to 7"):
        Blocks("Q4_0", np.full((2, 32), 8), ones)
    with pytest.raises(ConfigError, match="float16"):
        Blocks("Q8_0", np.zeros((2, 32), int), 0.1 * ones)
    with pytest.raises(ConfigError, match="minima"):
        Blocks("Q4_1", np.zeros((2, 32), int), ones)
    with pytest.raises(ConfigError, match="each 32"):
        Blocks("Q8_0", np.zeros((2, 64), int), ones)


def test_a_check_that_fails_leaves_no_file(tmp_path):
    model = read_gguf(files.llama_file(tmp_path / "m.gguf"))
    seen = []

    def check(path):
        seen.append(read_gguf(path).config)
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        write_gguf(model, tmp_path / "copy.gguf", check=check)
    assert seen == [model.config]
    assert [f.name for f in tmp_path.iterdir()] == ["m.gguf"]
