"""Pairs of texts and imported classifiers."""

import json

import numpy as np
from foreign_models import TEXTS
from own_folders import config_of, random_folder

import slimjax
from slimjax.data.text_columns import encode_pair
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.predict.predictor import open_predictor

FIRST, SECOND = TEXTS[0][:20], TEXTS[2][:24]


def import_model(folder, kind):
    """Writes a random model and its run folder; returns the run folder."""
    random_folder(folder / "hf", config_of(kind))
    imported = understand(read_folder(folder / "hf"), str(folder / "run"))
    write_run_folder(imported, folder / "run", "hf")
    return folder / "run"


def test_predict_reads_pairs_where_there_are_some(tmp_path):
    model = slimjax.load(import_model(tmp_path, "bert-classes"))
    pair = {"text": FIRST, "text_pair": SECOND}
    (of_pair,) = model.predict([pair])
    (alone,) = model.predict([FIRST])
    assert of_pair["scores"] != alone["scores"]
    tokens = model.tokenizer
    texts = [tokens.encode(text) for text in (FIRST, SECOND)]
    row = encode_pair(tokens, *texts, 40)
    types = np.cumsum(row == tokens.eos_id) - (row == tokens.eos_id)
    given = {"tokens": row[None], "tokens_segments": (row != tokens.pad_id)[None] * 1}
    given["tokens_types"] = np.minimum(types, 1)[None]
    logits = model.config.module().apply(model.params, given)["label"].logits()[0]
    scores = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([*of_pair["scores"].values()], scores, atol=1e-5)
    assert model.predict([{"text": FIRST}])[0]["scores"] == alone["scores"]


def test_a_file_has_single_texts_or_pairs(tmp_path):
    run = import_model(tmp_path, "bert-classes")
    rows = {
        "a": [{"text": FIRST}, {"text": FIRST, "text_pair": SECOND}],
        "b": [{"text": FIRST, "text_pair": SECOND}, {"text": FIRST}],
    }
    for name, own in rows.items():
        text = "".join(f"{json.dumps(row)}\n" for row in own)
        (tmp_path / f"{name}.jsonl").write_text(text)
    found = list(open_predictor(run).read_source(f"jsonl:{tmp_path}/*.jsonl"))
    assert [type(one).__name__ for one in found] == ["Example", "BadDocument"] * 2
    assert (
        "has a field text_pair, and the first example there has none"
        in found[1].message
    )
    assert (
        "has no field text_pair, and the first example there has one"
        in found[3].message
    )
