"""Models that give vectors of texts, and the files that say how."""

import dataclasses
import json

import pytest
from own_folders import config_of, random_model

from slimjax.interop.exporting import make_foreign
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.hf_writing import write_folder
from slimjax.interop.importing import understand


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
