"""Rows of a foreign model are filled up by an id that no text has."""

import json

import pytest
from foreign_models import TEXTS, word_piece

from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.errors import DataError
from slimjax.interop.foreign import Foreign
from slimjax.interop.tokenizers import make_tokenizer

NAMES = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[WHAT]"}
UNUSUAL = {"[PAD]": "[NONE]", "[UNK]": "[WHAT]"}
"""Spellings by which nobody would know what they mean."""


def words(**names) -> tuple[Foreign, int]:
    """Returns a WordPiece tokenizer whose files name these tokens, and its size."""
    made, names = word_piece(), {**NAMES, **names}
    content = json.loads(made.to_str())
    model = content["model"]
    model["vocab"] = {UNUSUAL.get(k, k): i for k, i in model["vocab"].items()}
    model["unk_token"] = "[WHAT]"
    for token in content["added_tokens"]:
        token["content"] = UNUSUAL.get(token["content"], token["content"])
    if names.get("pad_token") != "[NONE]":
        del content["added_tokens"][0]
    files = {
        "tokenizer.json": json.dumps(content).encode(),
        "tokenizer_config.json": json.dumps(names).encode(),
    }
    return Foreign({}, {}, files), made.get_vocab_size()


def make(size_beyond=0, **names) -> JsonTokenizer:
    foreign, size = words(**names)
    return make_tokenizer(foreign, size + size_beyond)


def test_the_pad_of_the_file_is_taken():
    assert make(pad_token="[NONE]").pad_id == 0


@pytest.mark.parametrize("names", [{}, {"pad_token": "[WHAT]"}, {"pad_token": "[SEP]"}])
def test_a_row_beyond_the_entries_pads_where_no_id_is_free(names):
    tokenizer = make(1, **names)
    assert tokenizer.pad_id == tokenizer.vocab_size - 1


def test_a_special_token_without_a_meaning_pads():
    assert make(mask_token="[CLS]").pad_id == 4  # That of [MASK].


@pytest.mark.parametrize("names", [{}, {"pad_token": "[WHAT]"}, {"unk_token": "[CLS]"}])
def test_unknown_words_are_never_padding(names):
    """With no other id left, the model is refused: unknown words would vanish."""
    with pytest.raises(DataError, match="Name a pad_token") as error:
        make(**names)
    assert "\n" not in str(error.value)


def test_unknown_words_are_read():
    tokenizer = make(1)
    found = tokenizer.encode(f"{TEXTS[0]} \u4e2d").tolist()
    assert tokenizer.special["unk"] in found
    assert tokenizer.pad_id not in found
