"""Settings of a Llama or Mistral that transformers reads in its own way."""

import pytest
from finished_runs import make_text_run
from foreign_models import LINEAR, LLAMA3
from own_folders import config_of, random_folder

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.errors import DataError
from slimjax.interop.families import llama
from slimjax.interop.gguf_export import export_gguf
from slimjax.interop.gguf_header import read_header
from slimjax.interop.hf_export import export_hf
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder


def test_scaling_is_exported_in_the_older_way_too(tmp_path):
    for name, rope in (("llama-linear", LINEAR), ("llama-llama3", LLAMA3)):
        folder = tmp_path / name
        random_folder(folder / "hf", config_of(name))
        imported = understand(read_folder(folder / "hf"), str(folder / "run"))
        write_run_folder(imported, folder / "run", "hf")
        export_hf(folder / "run", folder / "again")
        config = read_folder(folder / "again").config
        theirs = {key: value for key, value in rope.items() if key != "rope_theta"}
        assert config["rope_scaling"] == theirs
        assert config["rope_theta"] == rope["rope_theta"]
        assert config["rope_parameters"] == rope
    random_folder(tmp_path / "plain", config_of("llama"))
    assert "rope_scaling" not in read_folder(tmp_path / "plain").config


def test_the_older_setting_counts_where_there_are_both():
    new = {"rope_type": "default", "rope_theta": 7.0}
    config = config_of("llama", rope_parameters=new, rope_theta=5.0)
    assert llama.describe(config).model["rope_base"] == 7.0
    both = config | {"rope_scaling": {"type": "linear", "factor": 2.0}}
    found = llama.describe(both).model
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert found["rope_base"] == 5.0
    with pytest.raises(DataError, match="the RoPE scaling 'yarn' is not supported"):
        llama.describe(config | {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}})
    with pytest.raises(DataError, match="rope_parameters of some layers alone"):
        llama.describe(config | {"rope_parameters": {"full_attention": new}})


@pytest.mark.parametrize("kinds", [None, ["full_attention"] * 3])
def test_windows_are_those_of_transformers(kinds):
    own = dict(sliding_window=7, layer_types=kinds)
    assert llama.describe(config_of("llama", **own)).model["window"] == 0
    assert llama.describe(config_of("mistral", **own)).model["window"] == 7
    assert llama.describe(config_of("qwen2", **own)).model["window"] == 0


def test_a_model_of_ours_has_the_positions_of_its_rows(tmp_path):
    block = dict(width=8, num_heads=2, mlp_dim=8, num_layers=1, dtype="float32")
    codecs = {"tokens": BytesTokenizer()}
    run = make_text_run(tmp_path / "run", "lm", codecs, block, seq_len=4096)
    export_hf(run, tmp_path / "hf")
    config = read_folder(tmp_path / "hf", needs_tokenizer=False).config
    assert config["max_position_embeddings"] == 4096
    export_gguf(run, tmp_path / "m.gguf")
    settings = read_header(tmp_path / "m.gguf").settings
    assert settings["llama.context_length"] == 4096
