"""What a tokenizer with fewer entries promises."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax.data import load_tokenizer
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.piece_parts import list_parts
from slimjax.data.vocabulary import cut_tokenizer, list_entries
from slimjax.errors import DataError

pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")

from data.test_json_tokenizer import TEXT, make_unigram, make_word_piece
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

WORDS = ("lower", "lowest", "newer", "newest", "wider", "widest", "new", "low")
ENDS = ("<|begin|>", "<|end|>")


def make_byte_level(vocab_size=320):
    """Returns a byte-level BPE with special tokens before and behind its entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=alphabet,
        special_tokens=["<|pad|>", "<|begin|>"],
        show_progress=False,
    )
    source = np.random.default_rng(0)
    texts = [" ".join(source.choice(WORDS, 30)) for _ in range(30)]
    tokenizer.train_from_iterator([*texts, TEXT], trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["<unusual>"])
    around = [(name, tokenizer.token_to_id(name)) for name in ENDS]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=around
    )
    return tokenizer


def wrap(tokenizer, **files):
    """Returns one of ours, whose last two rows have no entry."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    found = {"pad": len(ids), "bos": ids[ENDS[0]], "eos": ids[ENDS[1]]}
    content = json.loads(tokenizer.to_str())
    return JsonTokenizer(content, found, vocab_size=len(ids) + 2, files=files)


def is_closed(entries, kept):
    """Whether all that has to stay does, and the parts of what stays as well."""
    has = np.zeros(len(entries.parts), bool)
    has[kept] = True
    stays = has[~entries.may_go].all()
    return bool(stays) and all(has[[*entries.parts[i]]].all() for i in kept)


def draw_kept(entries, part, seed=0):
    """Returns the ids that stay after entries were removed at random."""
    source = np.random.default_rng(seed)
    used = np.zeros(len(entries.parts), int)
    for parts in entries.parts:
        np.add.at(used, [*parts], 1)
    has, least = np.ones(len(used), bool), part * len(used)
    while has.sum() > least:
        free = np.flatnonzero(has & entries.may_go & (used == 0))
        if not len(free):
            break
        gone = source.choice(free)
        has[gone] = False
        np.subtract.at(used, [*entries.parts[gone]], 1)
    kept = np.flatnonzero(has)
    assert is_closed(entries, kept)
    return kept


@pytest.fixture(scope="module")
def pair():
    """Returns a tokenizer, one with fewer entries, and the ids that were kept."""
    whole = wrap(make_byte_level())
    kept = draw_kept(list_entries(whole), 0.9)
    return whole, cut_tokenizer(whole, kept), kept


@settings(deadline=None)
@given(text=st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_every_text_comes_back(pair, text):
    _, small, _ = pair
    assert small.decode(small.encode(text)) == text
    assert small.decode_bytes(small.encode(text)) == text.encode()


def test_all_bytes_come_back(pair):
    _, small, _ = pair
    text = "".join(map(chr, range(0x300)))
    assert small.decode(small.encode(text)) == text


def test_ids_are_numbered_anew_in_the_old_order(pair):
    whole, small, kept = pair
    assert small.vocab_size == len(kept) < whole.vocab_size
    for new, old in enumerate(kept):
        assert small.names.get(new) == whole.names.get(int(old))


def test_special_tokens_and_bytes_stay(pair):
    whole, small, kept = pair
    names = set(small.names.values())
    assert {"<|pad|>", "<|begin|>", "<|end|>", "<unusual>"} <= names
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= names
    for role, number in whole.special.items():
        assert kept[small.special[role]] == number
    around = Tokenizer.from_str(small.to_json().decode()).encode("low").ids
    assert [around[0], around[-1]] == [small.bos_id, small.eos_id]


def test_a_merge_goes_with_each_of_its_entries(pair):
    whole, small, _ = pair
    before, after = (json.loads(t.to_json())["model"] for t in (whole, small))
    known = after["vocab"].keys()
    expected = [
        [left, right]
        for left, right in before["merges"]
        if left in known and right in known and left + right in known
    ]
    assert after["merges"] == expected
    assert len(expected) < len(before["merges"])


def test_nothing_that_stays_is_made_of_what_is_gone(pair):
    whole, small, _ = pair
    model = json.loads(whole.to_json())["model"]
    made_of = {left + right: (left, right) for left, right in model["merges"]}
    names = set(small.names.values())
    for name in names & made_of.keys():
        assert set(made_of[name]) <= names


def test_texts_without_what_is_gone_are_cut_as_before(pair):
    whole, small, kept = pair
    alike = 0
    for word in (*WORDS, *(f" {word}" for word in WORDS)):
        before = whole.encode(word)
        if np.isin(before, kept).all():
            np.testing.assert_array_equal(kept[small.encode(word)], before)
            alike += 1
    assert 0 < alike < 2 * len(WORDS)


def test_an_entry_that_is_made_in_two_ways_has_the_parts_of_the_merge_that_is_used():
    model = {
        "type": "BPE",
        "vocab": {name: i for i, name in enumerate(["a", "b", "c", "bc", "ab", "abc"])},
        "merges": [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]],
    }
    assert list_parts(model) == {"bc": ("b", "c"), "ab": ("a", "b"), "abc": ("a", "bc")}


@pytest.mark.parametrize("make", [make_unigram, make_word_piece])
def test_other_kinds_keep_what_they_kept(make):
    """Unigram's segments and the longest matches change; the text does not."""
    tokenizer = make()
    whole = wrap_by_ends(tokenizer)
    entries = list_entries(whole)
    small = cut_tokenizer(whole, draw_kept(entries, 0.8))
    assert small.vocab_size <= 0.85 * whole.vocab_size
    for text in (TEXT, *TEXT.split(), "again lloag"):
        assert small.decode(small.encode(text)) == whole.decode(whole.encode(text))


def wrap_by_ends(tokenizer):
    names = {
        "bos": ("[CLS]", "</s>"),
        "eos": ("[SEP]", "</s>"),
        "unk": ("[UNK]", "<unk>"),
    }
    names |= {"pad": ("[PAD]", "<pad>")}
    ids = tokenizer.get_vocab(with_added_tokens=True)
    found = {r: next(ids[n] for n in own if n in ids) for r, own in names.items()}
    content = json.loads(tokenizer.to_str())
    return JsonTokenizer(content, found, vocab_size=len(ids))


def test_files_that_name_ids_follow(tmp_path):
    base = make_byte_level()
    ids = base.get_vocab(with_added_tokens=True)
    end, begin, gone = ids["<|end|>"], ids["<|begin|>"], ids["Ġlow"]
    settings = {"eos_token_id": [end, begin], "vocab_size": len(ids), "width": end}
    tokens = {"added_tokens_decoder": {str(end): {"content": "<|end|>"}}}
    files = {
        "config.json": settings,
        "generation_config.json": settings | {"suppress_tokens": [gone, begin]},
        "tokenizer_config.json": tokens | {"eos_token": "<|end|>"},
        "added_tokens.json": {"<|end|>": end},
        "vocab.json": ids,
    }
    files = {name: json.dumps(content).encode() for name, content in files.items()}
    whole = wrap(base, **files, **{"tokenizer.model": b"another form"})
    entries = list_entries(whole)
    small = cut_tokenizer(whole, np.flatnonzero(~entries.may_go))
    small.save(tmp_path)
    made = {name: json.loads((tmp_path / name).read_bytes()) for name in files}
    new_end, new_begin = small.eos_id, small.bos_id
    assert new_end < end
    config = made["config.json"]
    assert config["eos_token_id"] == [new_end, new_begin]
    assert config["vocab_size"] == small.vocab_size
    assert config["width"] == end
    assert made["generation_config.json"]["suppress_tokens"] == [new_begin]
    assert made["tokenizer_config.json"]["added_tokens_decoder"].keys() == {
        str(new_end)
    }
    assert made["added_tokens.json"] == {"<|end|>": new_end}
    assert made["vocab.json"] == json.loads(small.to_json())["model"]["vocab"]
    assert not (tmp_path / "tokenizer.model").exists()
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == small.fingerprint
    np.testing.assert_array_equal(again.encode("lower"), small.encode("lower"))


def test_an_unknown_kind_is_refused():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<|begin|>": 1, "<|end|>": 2}))
    with pytest.raises(DataError, match="WordLevel"):
        list_entries(wrap(tokenizer))
