"""Folders of Hugging Face: what goes in comes out, and bad ones are refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from foreign_models import MODELS
from own_folders import config_of, ragged, random_folder, random_model

from slimjax.cli.main import main
from slimjax.errors import ConfigError, DataError
from slimjax.generate.model import load
from slimjax.interop.exporting import make_foreign
from slimjax.interop.hf_export import export_hf
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.models.cached import can_cache
from slimjax.store.weights import StoredModel

QUICK = ["llama", "bert-tags"]
SLOW = [name for name in MODELS if name not in QUICK]


def weights_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def make_run(source, output):
    imported = understand(read_folder(source), str(output))
    write_run_folder(imported, output, "hf")
    return StoredModel.read(output / "weights.safetensors")


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
def test_import_export_import_changes_nothing(tmp_path, name):
    first, second = tmp_path / "first", tmp_path / "second"
    config = config_of(name)
    random_folder(first, ragged(config, 1) if name == "llama" else config)
    one = make_run(first, tmp_path / "run")
    result = export_hf(tmp_path / "run", second)
    other = make_run(second, tmp_path / "again")
    assert result["largest_difference"] == 0.0
    assert one.digest == other.digest
    before, after = weights_of(first), weights_of(second)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    assert "parameters" in (second / "README.md").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns a folder of a random Llama."""
    folder = tmp_path_factory.mktemp("made") / "model"
    random_folder(folder, config_of("llama"))
    return folder


def change_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "gone"}))


def change_weights(folder, **changes):
    tensors = weights_of(folder) | changes
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items() if v is not None}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def split(folder, name="part.safetensors"):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    names = weights_of_file(folder / "part.safetensors")
    index = {"weight_map": dict.fromkeys(names, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def weights_of_file(path):
    return list(safetensors.numpy.load_file(path))


Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"
BAD = {
    "tokenizer.json": lambda f: (f / "tokenizer.json").unlink(),
    "can run code": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    "no model.safetensors": lambda f: (f / "model.safetensors").unlink(),
    "not a file of this folder": lambda f: split(f, "../part.safetensors"),
    "which is missing": lambda f: split(f, "other.safetensors"),
    "quantization_config": lambda f: change_config(
        f, quantization_config={"quant_method": "gptq"}
    ),
    "adapter": lambda f: (f / "adapter_config.json").write_text("{}"),
    "auto_map": lambda f: change_config(f, auto_map={"AutoModel": "m.Model"}),
    "model_type='falcon'": lambda f: change_config(f, model_type="falcon"),
    "LlamaForSequenceClassification": lambda f: change_config(
        f, architectures=["LlamaForSequenceClassification"]
    ),
    "RoPE scaling 'yarn'": lambda f: change_config(
        f, rope_parameters={"rope_type": "yarn", "factor": 2.0}
    ),
    "partial_rotary_factor": lambda f: change_config(f, partial_rotary_factor=0.5),
    "hidden_act='mish'": lambda f: change_config(f, hidden_act="mish"),
    "hidden_size='24'": lambda f: change_config(f, hidden_size="24"),
    "num_hidden_layers=-1": lambda f: change_config(f, num_hidden_layers=-1),
    "rms_norm_eps=0": lambda f: change_config(f, rms_norm_eps=0),
    "is missing": lambda f: change_weights(f, **{Q: None}),
    "no part of such a model": lambda f: change_weights(f, extra=np.ones(3, "f4")),
    "has the shape [24, 23]": lambda f: change_weights(
        f, **{Q: np.ones((24, 23), "f4")}
    ),
    "not finite": lambda f: change_weights(f, **{NORM: np.full(24, np.nan, "f4")}),
    "is of type I64": lambda f: change_weights(f, **{NORM: np.ones(24, "i8")}),
    "cannot be read": lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:-8]
    ),
    "does not hold a JSON object": lambda f: (f / "config.json").write_text("[]"),
    "config.json is missing": lambda f: (f / "config.json").unlink(),
    "tokenizers library refuses it": lambda f: (f / "tokenizer.json").write_text(
        '{"model": {"type": "BPE", "vocab": 3}}'
    ),
    "rows for": lambda f: change_config(f, vocab_size=9),
    "per_layer_config": lambda f: change_config(f, per_layer_config={"7": {}}),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_folder_is_refused_in_one_line_and_leaves_nothing(
    made, tmp_path, message, capsys
):
    folder, output = tmp_path / "bad", tmp_path / "output"
    shutil.copytree(made, folder)
    BAD[message](folder)
    argv = ["import", "--format=hf", f"--input={folder}", f"--output={output}"]
    assert main(argv) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"]


def test_a_header_is_checked_before_memory_is_allocated(made, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(made, folder)
    header = {Q: {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(64)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(folder)
    (folder / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little"))
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(folder)


def test_a_model_in_parts_is_the_same(made, tmp_path):
    folder = tmp_path / "parts"
    shutil.copytree(made, folder)
    tensors = weights_of(folder)
    names, index = sorted(tensors), {}
    for number, own in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        index |= dict.fromkeys(own, file)
        part = {name: tensors[name] for name in own}
        safetensors.numpy.save_file(part, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": index})
    )
    whole = make_run(made, tmp_path / "one")
    assert make_run(folder, tmp_path / "two").digest == whole.digest
    index["model.embed_tokens.weight"] = "model-1.safetensors"
    index[Q] = "model-0.safetensors"
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": index})
    )
    with pytest.raises(DataError, match="otherwise than"):
        read_folder(folder)


def test_exports_that_no_class_has_are_refused(made, tmp_path, capsys):
    weighed = random_model(tmp_path / "own", config_of("llama"))
    (tower,) = weighed.model.towers
    for changes in (dict(qk_norm=True), dict(positions="none"), dict(norm="layer")):
        style = dataclasses.replace(tower.style, **changes)
        towers = (dataclasses.replace(tower, style=style),)
        odd = dataclasses.replace(weighed.model, towers=towers)
        with pytest.raises(ConfigError, match="no class of transformers"):
            make_foreign(dataclasses.replace(weighed, model=odd))
    towers = (dataclasses.replace(tower, token_types=2),)
    odd = dataclasses.replace(weighed.model, towers=towers)
    with pytest.raises(ConfigError, match="cannot have the token_types"):
        make_foreign(dataclasses.replace(weighed, model=odd))
    argv = ["export", "--format=hf", f"--workdir={made}", f"--output={tmp_path / 'o'}"]
    assert main([*argv, "--dtype=int4"]) == 2
    assert "--dtype='int4' is unknown" in capsys.readouterr().err
    assert main([*argv, "--type=Q4_0"]) == 2
    assert main(["export", "--format=onnx", *argv[2:]]) == 2


def test_commands_take_an_imported_folder(made, tmp_path, capsys):
    output = tmp_path / "run"
    argv = ["import", "--format=hf", f"--input={made}", f"--output={output}"]
    assert main(argv) == 0
    assert "task lm" in capsys.readouterr().out
    assert main(["evaluate", f"--workdir={output}"]) == 2
    assert "--data=SOURCE" in capsys.readouterr().err
    assert main(["inspect", str(output)]) == 0
    assert main([*argv]) == 2  # It is there already.
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"), [("rope_base", 20_000.0), ("norm_epsilon", 1e-3)]
)
def test_a_setting_that_has_changed_since_the_import_is_refused(
    made, tmp_path, capsys, name, value
):
    make_run(made, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["model"][name] = value
    path.write_text(json.dumps(config))
    argv = ["generate", f"--workdir={tmp_path / 'run'}", "--prompt=a"]
    assert main(argv) == 2
    said = capsys.readouterr().err.strip()
    assert f"{name.removeprefix('norm_')}={value}" in said
    assert "\n" not in said


def test_how_an_imported_model_is_computed_may_change(made, tmp_path):
    make_run(made, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["model"] |= dict(dtype="bfloat16", attention_impl="reference")
    path.write_text(json.dumps(config))
    assert load(tmp_path / "run").config.dtype == "bfloat16"


def test_a_plain_llama_is_written_by_the_fast_kernels(tmp_path):
    config = config_of("llama-llama3", tie_word_embeddings=True)
    assert can_cache(random_model(tmp_path / "own", config).model)


def test_two_tables_that_differ_are_both_kept(tmp_path):
    """A file may say that they are one, and hold two, rounded otherwise."""
    folder = tmp_path / "model"
    random_folder(folder, config_of("qwen2"))
    table = weights_of(folder)["model.embed_tokens.weight"]
    change_weights(folder, **{"lm_head.weight": table})
    same = understand(read_folder(folder), "run")
    assert same.model.heads[0].table == "tied"
    assert not same.notes
    change_weights(folder, **{"lm_head.weight": table + np.float32(0.1)})
    both = understand(read_folder(folder), "run")
    assert both.model.heads[0].table == "own"
    assert "both are kept" in both.notes[0]
    read = dict(both.weights())
    np.testing.assert_array_equal(read[("tokens_head", "table")](), table + 0.1)
    np.testing.assert_array_equal(read[("tokens", "embedding")](), table)


def test_a_tied_head_of_bert_that_differs_is_refused(tmp_path):
    folder = tmp_path / "model"
    random_folder(folder, config_of("bert-mlm"))
    name = "bert.embeddings.word_embeddings.weight"
    other = {"cls.predictions.decoder.weight": weights_of(folder)[name] + 1}
    change_weights(folder, **other)
    with pytest.raises(DataError, match="is not embeddings"):
        understand(read_folder(folder), "run")


def test_heads_that_do_not_fill_the_width_are_named(tmp_path):
    config = config_of("llama", num_attention_heads=5, num_key_value_heads=1)
    random_folder(tmp_path / "model", config)
    make_run(tmp_path / "model", tmp_path / "run")
    notes = export_hf(tmp_path / "run", tmp_path / "plain")["notes"]
    assert "heads do not fill the width" in notes[0]
    assert "from_pretrained" not in (tmp_path / "plain" / "README.md").read_text()
    export_hf(tmp_path / "run", tmp_path / "twin", padded=True)
    twin = json.loads((tmp_path / "twin" / "config.json").read_text())
    assert twin["hidden_size"] % twin["num_attention_heads"] == 0
    assert "from_pretrained" in (tmp_path / "twin" / "README.md").read_text()


def test_a_classifier_may_lose_its_many_labels(tmp_path):
    kind = dict(problem_type="multi_label_classification")
    many = random_model(tmp_path / "many", config_of("bert-classes", **kind))
    one = random_model(tmp_path / "one", config_of("bert-classes"))
    codecs = {**one.codecs, "tokens": many.codecs["tokens"]}
    config = make_foreign(dataclasses.replace(one, codecs=codecs)).config
    assert "problem_type" not in config
    assert kind.items() <= make_foreign(many).config.items()
