"""What rows that are encoded anew promise."""

import json

import numpy as np
import pytest

from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.vocabulary import cut_tokenizer, list_entries

pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")

from data.test_vocabulary import WORDS, draw_kept, make_byte_level, wrap
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

from slimjax.data.reencoding import Reencoder

TEXT = "lower, lowest: héllo 汉字 🙂 newest\n\n widest <|end|> new"


@pytest.fixture(scope="module")
def both():
    whole = wrap(make_byte_level())
    kept = draw_kept(list_entries(whole), 0.9)
    small = cut_tokenizer(whole, kept)
    return whole, small, kept


def test_rows_have_the_same_bytes_wherever_they_are_cut(both):
    whole, small, kept = both
    ids = whole.encode(TEXT)
    rows = [ids[start:end] for start in range(5) for end in range(start, len(ids))]
    made = Reencoder(whole, small, kept).encode(rows)
    for row, new in zip(rows, made, strict=True):
        assert small.decode_bytes(new) == whole.decode_bytes(row)
    assert any(small.decode_bytes(new).decode("utf-8", "ignore") != "" for new in made)


def test_a_text_is_encoded_as_the_tokenizer_does_it(both):
    whole, small, kept = both
    (made,) = Reencoder(whole, small, kept).encode([whole.encode(TEXT)])
    np.testing.assert_array_equal(made, small.encode(TEXT))


def test_tokens_without_text_become_their_new_ids(both):
    whole, small, kept = both
    ends = np.int32([whole.eos_id, whole.bos_id])
    row = np.concatenate([whole.encode("lower"), ends, whole.encode(" new")])
    (made,) = Reencoder(whole, small, kept).encode([row])
    new = [small.eos_id, small.bos_id]
    expected = [*small.encode("lower"), *new, *small.encode(" new")]
    assert made.tolist() == expected


def test_no_space_is_put_before_a_part_of_a_text():
    """As SentencePiece does before a whole one."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    fallback, fuse = decoders.ByteFallback(), decoders.Fuse()
    replace = decoders.Replace("\u2581", " ")
    tokenizer.decoder = decoders.Sequence([replace, fallback, fuse])
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=names, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 9, trainer)
    content = json.loads(tokenizer.to_str())
    ids = tokenizer.get_vocab(with_added_tokens=True)
    content["added_tokens"] = content["added_tokens"][:3]
    special = {"pad": ids["<unk>"], "bos": ids["<s>"], "eos": ids["</s>"]}
    whole = JsonTokenizer(content, dict[str, int | None](special), vocab_size=len(ids))
    kept = draw_kept(list_entries(whole), 0.95)
    small = cut_tokenizer(whole, kept)
    ids = whole.encode("lower newest wider \u00e9")
    rows = [ids[start:] for start in range(len(ids))]
    made = Reencoder(whole, small, kept).encode(rows)
    for row, new in zip(rows, made, strict=True):
        assert small.decode_bytes(new) == whole.decode_bytes(row)
