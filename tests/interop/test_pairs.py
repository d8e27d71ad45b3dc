"""Pairs of texts and imported classifiers."""

import json

import numpy as np
import pytest
import tokenizers
from foreign_models import TEXTS
from own_folders import config_of, random_folder

import slimjax
from slimjax.data import span_columns
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.text_columns import encode_pair
from slimjax.data.tokenizer import load_tokenizer
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder
from slimjax.predict.predictor import open_predictor
from slimjax.text.words import split_text

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


@pytest.mark.parametrize("kind", ["bert-classes", "roberta-classes"])
def test_pairs_are_separated_as_the_file_says(tmp_path, kind):
    run = import_model(tmp_path, kind)
    ours = load_tokenizer(run / "tokenizer")
    theirs = tokenizers.Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    expected = theirs.encode(FIRST, SECOND).ids
    row = encode_pair(ours, ours.encode(FIRST), ours.encode(SECOND), 40)
    assert row[: len(expected)].tolist() == expected
    assert (row[len(expected) :] == ours.pad_id).all()


def test_long_pairs_keep_their_separators(tmp_path):
    ours = load_tokenizer(import_model(tmp_path, "roberta-classes") / "tokenizer")
    ids = ours.encode(" ".join(TEXTS))
    row = encode_pair(ours, ids, ids, 21)
    assert (row == ours.eos_id).sum() == 3
    assert np.flatnonzero(row == ours.eos_id).tolist()[:2] == [10, 11]


def test_other_tokenizers_are_the_same_as_before(tmp_path):
    tokenizer = load_tokenizer(import_model(tmp_path, "bert-classes") / "tokenizer")
    assert "pair_separators" not in tokenizer.special
    assert isinstance(tokenizer, JsonTokenizer)


def test_questions_and_contexts_are_separated_as_pairs_are(tmp_path):
    ours = load_tokenizer(import_model(tmp_path, "roberta-classes") / "tokenizer")
    texts = [ours.encode_batch(split_text(text).texts) for text in (FIRST, SECOND)]
    rows, is_cut = span_columns._rows_of(ours, *texts, 64)
    (row,) = rows
    expected = encode_pair(ours, *map(np.concatenate, texts), 64)
    np.testing.assert_array_equal(row.tokens, expected)
    assert not is_cut
    first = int(np.flatnonzero(row.words == 0)[0])
    assert row.tokens[first - 3 : first].tolist()[1:] == [ours.eos_id] * 2
    for length in (span_columns.LEAST_LENGTH, 16):
        short, _ = span_columns._rows_of(ours, *texts, length)
        assert len(short) > 1
        assert all((row.tokens == ours.eos_id).sum() == 3 for row in short)
        assert all((row.words >= 0).any() for row in short)
