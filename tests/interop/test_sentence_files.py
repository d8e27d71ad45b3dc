"""Models that give vectors of texts, and the files that say how."""

import dataclasses
import json

import numpy as np
import pytest
from own_folders import config_of, random_folder, random_model

import slimjax
from slimjax.interop.exporting import make_foreign
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.hf_writing import write_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder


def pooled(folder, pool):
    """Returns a random model whose vectors are pooled in some way."""
    weighed = random_model(folder, config_of("bert"))
    head = dataclasses.replace(weighed.model.heads[0], at=pool)
    model = dataclasses.replace(weighed.model, heads=(head,))
    return dataclasses.replace(weighed, model=model)


@pytest.mark.parametrize(
    ("pool", "mode"), [("first", "cls_token"), ("max", "max_tokens"), ("mean", "")]
)
def test_an_export_says_how_vectors_are_pooled(tmp_path, pool, mode):
    weighed = pooled(tmp_path / "tokenizer", pool)
    (tmp_path / "hf").mkdir()
    write_folder(make_foreign(weighed), tmp_path / "hf")
    again = understand(read_folder(tmp_path / "hf"), str(tmp_path / "run"))
    assert again.model.heads[0].at == pool
    path = tmp_path / "hf" / "1_Pooling" / "config.json"
    assert path.is_file() == bool(mode)
    if mode:
        config = json.loads(path.read_text())
        assert [name for name, on in config.items() if on is True] == [
            f"pooling_mode_{mode}"
        ]
        assert config["word_embedding_dimension"] == weighed.model.width
        modules = json.loads((tmp_path / "hf" / "modules.json").read_text())
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        assert kinds == ["Transformer", "Pooling", "Normalize"]


def test_texts_are_cut_at_the_length_of_the_sentence_model(tmp_path):
    random_folder(tmp_path / "hf", config_of("bert"))
    settings = {"max_seq_length": 8, "do_lower_case": True}
    path = tmp_path / "hf" / "sentence_bert_config.json"
    path.write_text(json.dumps(settings))
    imported = understand(read_folder(tmp_path / "hf"), str(tmp_path / "run"))
    assert imported.notes == ()  # Its tokenizer does that.
    write_run_folder(imported, tmp_path / "run", "hf")
    model = slimjax.load(tmp_path / "run")
    assert model.config.main.num_positions == 40
    texts = ["the dog " * 3, "the dog " * 9]
    kept, longer = model.vectors(texts)
    np.testing.assert_allclose(kept, longer, atol=1e-6)
    assert [line["truncated"] for line in model.predict(["dog", *texts])] == [
        False,
        False,
        True,
    ]


def test_case_that_the_tokenizer_leaves_has_a_note(tmp_path):
    random_folder(tmp_path, config_of("bert"))
    (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    given = read_folder(tmp_path)
    content = given.json("tokenizer.json") | {"normalizer": None}
    files = {**given.files, "tokenizer.json": json.dumps(content).encode()}
    found = understand(dataclasses.replace(given, files=files), str(tmp_path))
    assert [n for n in found.notes if "do_lower_case" in n]
