"""Texts end at all ids that the settings of a pretrained model name."""

import json

import numpy as np
import pytest
from own_folders import config_of, random_folder

import slimjax
from slimjax.data.special_tokens import list_ends
from slimjax.generate.decode import generate_all
from slimjax.interop.foreign import Foreign
from slimjax.interop.gguf_tokenizer_writing import tokenizer_settings
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

SETTINGS = "generation_config.json"
GREEDY = dict(max_new_tokens=12, temperature=0.0)


def import_model(folder, kind, name="run", **settings):
    """Returns an imported model, with settings of generation."""
    if not (folder / "hf").is_dir():
        random_folder(folder / "hf", config_of(kind))
    (folder / "hf" / SETTINGS).write_text(json.dumps(settings))
    imported = understand(read_folder(folder / "hf"), str(folder / name))
    write_run_folder(imported, folder / name, "hf")
    return slimjax.load(folder / name)


@pytest.mark.parametrize("is_list", [True, False])
def test_generation_stops_at_each_end(tmp_path, is_list):
    plain = import_model(tmp_path, "llama")
    rows = [plain.encode("the quick brown")]
    eos = plain.tokenizer.eos_id
    (ids,) = generate_all(plain.freeze(), rows, max_new_tokens=12, eos_id=eos)
    place = next(i for i in range(2, 12) if ids[i] not in ids[:i])
    end = int(ids[place])
    given = [eos, end] if is_list else end
    model = import_model(tmp_path, "llama", "again", eos_token_id=given)
    expected = plain.tokenizer.decode_bytes(ids[:place]).decode("utf-8", "replace")
    assert model.generate("the quick brown", **GREEDY) == [expected]
    own = generate_all(
        model.freeze(), rows, max_new_tokens=12, eos_id=eos, more_ends=(end,)
    )
    assert own[0].tolist() == ids[:place].tolist()


@pytest.mark.parametrize("beam_size", ["1", "3"])
def test_written_answers_stop_at_each_end(tmp_path, beam_size):
    how = {"decode.beam_size": beam_size, "decode.max_new_tokens": "8"}
    reading = tuple(how.items())
    from slimjax.predict.predictor import open_predictor

    import_model(tmp_path, "t5")
    plain = open_predictor(tmp_path / "run", reading=reading)
    batch = {"source": np.arange(5, 15, dtype=np.int32)[None]}
    batch["source_segments"] = np.ones((1, 10), np.int32)
    found = plain.run(batch)["tokens"][0]
    pad = plain.model.tokenizer.pad_id
    found = found[found != pad]
    end = int(found[-1])
    import_model(tmp_path, "t5", "again", eos_token_id=[1, end])
    other = open_predictor(tmp_path / "again", reading=reading)
    assert end not in other.run(batch)["tokens"][0]


def test_gguf_files_have_an_end_that_is_a_plain_number(tmp_path):
    random_folder(tmp_path, config_of("llama"))
    (tmp_path / SETTINGS).write_text('{"eos_token_id": 7}')
    given = read_folder(tmp_path)
    content = json.loads(given.files["tokenizer.json"])
    words = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    content["pre_tokenizer"] = words
    files = {**given.files, "tokenizer.json": json.dumps(content).encode()}
    found = tokenizer_settings(Foreign(given.config, {}, files), 305)
    assert found["tokenizer.ggml.eos_token_id"] == 0
    assert found["tokenizer.ggml.eot_token_id"] == 7


def test_settings_of_generation_come_first():
    files = {SETTINGS: b'{"eos_token_id": 3}', "config.json": b'{"eos_token_id": 4}'}
    assert list_ends(files) == [3]
    assert list_ends({"config.json": b'{"eos_token_id": [4, 5]}'}) == [4, 5]
    assert list_ends({SETTINGS: b'{"eos_token_id": true}'}) == list_ends({}) == []
