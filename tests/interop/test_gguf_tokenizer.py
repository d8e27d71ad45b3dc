"""Tokenizers of GGUF files cut texts as their sources do."""

import json

import gguf_models as files
import numpy as np
import pytest

from slimjax.data.tokenizer import read_tokenizer_file
from slimjax.errors import DataError
from slimjax.interop.foreign import Foreign
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_tokenizer_writing import (
    find_pre,
    loses_template,
    tokenizer_settings,
)

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    files.TEXT,
    "",
    " ",
    "   three spaces, then\ttabs\t\t and  more   ",
    "I'LL we'll THEY'VE they've 12345 1,234.50 x2y3",
    "def f(self, *args):\n    return {'a': [1, 2, 3]}  # no\r\n\r\n",
    "汉字与标点，混在一起。全角ＡＢＣ１２３",  # noqa: RUF001
    "naïve café Ångström e\u0301 \u2028 \u00a0 nbsp",
    "\x00\x01\x02 \x7f \x1b[0m \u200b zero",
    "🙂👩‍👩‍👧 emoji \U0001f9ff",
    "…—“quotes” ‘single’ – dashes",  # noqa: RUF001
    "\n\n\n\nlines\n \n  \n",
]
KINDS = ["smollm", "qwen2", "gpt-2", "llama-bpe"]
VOCAB = files.VOCAB


def byte_level_model(path, pre, **more):
    tokenizer = files.byte_level_settings(pre, **more)
    return read_gguf(files.llama_file(path, tokenizer=tokenizer))


def pieces_model(path, **more):
    settings = files.sentence_piece_settings(**more)
    size = len(settings["ggml.tokens"])
    return read_gguf(files.llama_file(path, vocab=size, tokenizer=settings))


def encoder(model):
    tokenizer = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def splits(pre):
    """Returns how a kind cuts a text, from the tokenizers library's own parts."""
    from tokenizers import Regex
    from tokenizers import pre_tokenizers as parts

    bytes_after = parts.ByteLevel(add_prefix_space=False, use_regex=False)
    if pre == "gpt-2":
        return parts.ByteLevel(add_prefix_space=False)
    if pre == "smollm":
        digits = parts.Digits(individual_digits=True)
        return parts.Sequence([digits, parts.ByteLevel(add_prefix_space=False)])
    numbers = r"\p{N}" if pre == "qwen2" else r"\p{N}{1,3}"
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + numbers
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return parts.Sequence([parts.Split(words, "isolated"), bytes_after])


@pytest.mark.parametrize("pre", KINDS)
def test_byte_level_pieces_are_those_of_the_source(tmp_path, pre):
    from tokenizers import normalizers

    source = tokenizers.Tokenizer.from_str(files.trained("byte_level", VOCAB).to_str())
    source.pre_tokenizer = splits(pre)
    if pre == "qwen2":
        source.normalizer = normalizers.NFC()
    encode = encoder(byte_level_model(tmp_path / "m.gguf", pre))
    for text in TEXTS:
        assert encode(text) == source.encode(text).ids, text


def test_pieces_join_by_their_scores_and_fall_back_to_bytes(tmp_path):
    source = files._pieces(400)
    encode = encoder(pieces_model(tmp_path / "m.gguf"))
    words = files.TEXT.split()
    # The source joins spaces and normalises; llama.cpp and this do neither.
    for start in range(len(words)):
        text = " ".join(word for word in words[start:] if word.isascii())
        assert encode(text) == source.encode(text), text
    assert encode("\U0001f9ff")[-4:] == source.encode("\U0001f9ff")[-4:]


def test_words_of_bert_are_those_of_the_source(tmp_path):
    from tokenizers import Tokenizer

    source = Tokenizer.from_str(files.trained("word_piece", VOCAB).to_str())
    model = read_gguf(files.bert_file(tmp_path / "m.gguf"))
    encode = encoder(model)
    for text in TEXTS:
        assert encode(text) == source.encode(text).ids, text
    whole = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    pair = whole.encode("a model", "of many layers")
    assert pair.tokens[0] == "[CLS]"
    assert pair.tokens.count("[SEP]") == 2
    assert pair.type_ids[-1] == 1
    special = model.json("special_tokens_map.json")
    assert special["cls_token"] == "[CLS]"
    assert special["mask_token"] == "[MASK]"


def test_cased_words_stay_cased(tmp_path):
    settings = files.word_piece_settings()
    settings["ggml.tokens"][-1] = "\u2581In"
    path = files.bert_file(tmp_path / "m.gguf", tokenizer=settings)
    assert encoder(read_gguf(path))("In") == [VOCAB - 1]


def test_special_tokens_and_the_template_are_kept(tmp_path):
    model = byte_level_model(tmp_path / "m.gguf", "smollm")
    config = model.json("tokenizer_config.json")
    assert (config["bos_token"], config["eos_token"]) == ("<|begin|>", "<|end|>")
    assert config["add_bos_token"] is False
    assert config["chat_template"].startswith("{% for m in messages %}")
    assert model.config["eos_token_id"] == VOCAB - 1
    more = {"ggml.eot_token_id": VOCAB - 2}
    model = byte_level_model(tmp_path / "e.gguf", "smollm", **more)
    ends = model.json("generation_config.json")["eos_token_id"]
    assert ends == [VOCAB - 1, VOCAB - 2]


@pytest.mark.parametrize("adds", [True, False, None])
def test_texts_begin_with_bos_if_the_file_says_so(tmp_path, adds):
    settings = files.byte_level_settings("llama-bpe")
    del settings["ggml.add_bos_token"]
    settings |= {} if adds is None else {"ggml.add_bos_token": adds}
    path = files.llama_file(tmp_path / "m.gguf", tokenizer=settings)
    model = read_gguf(path)
    whole = tokenizers.Tokenizer.from_buffer(model.files["tokenizer.json"])
    begins = whole.encode("a model").ids[0] == VOCAB - 2
    assert begins == (adds is not False)  # Llama 3 does without a word.
    assert model.json("tokenizer_config.json")["add_bos_token"] == begins


def test_our_tokenizer_reads_the_files(tmp_path):
    model = byte_level_model(tmp_path / "m.gguf", "smollm")
    for name, content in model.files.items():
        (tmp_path / name).write_bytes(content)
    ours = read_tokenizer_file(tmp_path / "tokenizer.json")
    assert ours.vocab_size >= VOCAB
    assert (ours.bos_id, ours.eos_id) == (VOCAB - 2, VOCAB - 1)
    for text in TEXTS:
        np.testing.assert_array_equal(ours.encode(text), encoder(model)(text))
        assert ours.decode(ours.encode(text)) == text


MODELS = [lambda path, pre=pre: byte_level_model(path, pre) for pre in KINDS]
MODELS += [pieces_model]
MODELS += [lambda path: pieces_model(path, **{"ggml.add_space_prefix": False})]


@pytest.mark.parametrize("make", MODELS)
def test_a_tokenizer_is_written_back(tmp_path, make):
    model = make(tmp_path / "m.gguf")
    size = model.config["vocab_size"]
    settings = tokenizer_settings(model, size)
    path = files.llama_file(
        tmp_path / "again.gguf",
        vocab=size,
        tokenizer={k.removeprefix("tokenizer."): v for k, v in settings.items()},
    )
    again = read_gguf(path)
    assert again.files == model.files


def test_rows_without_a_piece_are_filled_up(tmp_path):
    model = byte_level_model(tmp_path / "m.gguf", "gpt-2")
    settings = tokenizer_settings(model, VOCAB + 3)
    assert settings["tokenizer.ggml.tokens"][-2:] == ["[PAD301]", "[PAD302]"]
    assert settings["tokenizer.ggml.token_type"][-2:] == [5, 5]
    with pytest.raises(DataError, match=r"has the id 299, but .* 200 rows"):
        tokenizer_settings(model, 200)


def test_files_of_others_are_recognised_by_how_they_cut(tmp_path):
    """Hugging Face files say the same in other words."""
    content = byte_level_model(tmp_path / "m.gguf", "smollm").json("tokenizer.json")
    content["pre_tokenizer"]["pretokenizers"][1] |= {"trim_offsets": True}
    del content["pre_tokenizer"]["pretokenizers"][1]["use_regex"]
    assert find_pre(content) == "smollm"
    content["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = False
    with pytest.raises(DataError, match="Known: smollm, qwen2, gpt-2, llama-bpe"):
        find_pre(content)


def test_kinds_that_gguf_does_not_have_are_refused():
    content = json.loads(files.trained("word_piece", VOCAB).to_str())
    model = Foreign({}, {}, {"tokenizer.json": json.dumps(content).encode()})
    with pytest.raises(DataError, match="not 'WordPiece'"):
        tokenizer_settings(model, VOCAB)
    assert tokenizer_settings(Foreign({}, {}), 9) == {"tokenizer.ggml.model": "none"}


BROKEN = {
    "pre": {"ggml.pre": "falcon"},
    "model": {"ggml.model": "rwkv"},
    "tokens": {"ggml.tokens": ["a", "b"]},
    "token_type": {"ggml.token_type": [9] * VOCAB},
    "merges": {"ggml.merges": ["in nowhere"]},
    "bos_token_id": {"ggml.bos_token_id": VOCAB},
    "add_bos_token": {"ggml.add_bos_token": 1},
}


@pytest.mark.parametrize("word", BROKEN)
def test_what_is_broken_or_unknown_is_named(tmp_path, word):
    with pytest.raises(DataError, match=rf"m\.gguf: tokenizer\.ggml\.{word}") as error:
        byte_level_model(tmp_path / "m.gguf", "smollm", **BROKEN[word])
    assert len(str(error.value).splitlines()) == 1


def test_a_piece_that_stands_there_twice_is_refused(tmp_path):
    settings = files.byte_level_settings("smollm")
    settings["ggml.tokens"][7] = settings["ggml.tokens"][8]
    with pytest.raises(DataError, match="piece twice"):
        read_gguf(files.llama_file(tmp_path / "m.gguf", tokenizer=settings))


@pytest.mark.parametrize("pre", KINDS)
def test_pieces_that_join_in_another_way_are_refused(tmp_path, pre):
    given = byte_level_model(tmp_path / "a.gguf", pre)
    content = given.json("tokenizer.json")
    is_whole = content["model"]["ignore_merges"]
    assert is_whole == (pre == "llama-bpe")
    changes = {"ignore_merges": not is_whole, "end_of_word_suffix": "</w>"}
    for name, value in changes.items():
        model = content["model"] | {name: value}
        data = json.dumps(content | {"model": model}).encode()
        other = Foreign(given.config, {}, {**given.files, "tokenizer.json": data})
        with pytest.raises(DataError, match=f"tokenizer.json: {name}="):
            tokenizer_settings(other, VOCAB)


NAMED = [{"name": "default", "template": "one"}, {"name": "tool", "template": "two"}]
TEMPLATES = {
    "jinja": ({"chat_template.jinja": b"one"}, {"chat_template": "two"}, "one"),
    "json": ({"chat_template.json": b'{"chat_template": "one"}'}, {}, "one"),
    "named": ({}, {"chat_template": NAMED}, "one"),
    "lost": ({}, {"chat_template": NAMED[1:]}, None),
    "none": ({}, {}, None),
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_template_is_that_of_chat(tmp_path, kind):
    given = byte_level_model(tmp_path / "a.gguf", "smollm")
    more, config, expected = TEMPLATES[kind]
    config = {"tokenizer_config.json": json.dumps(config).encode()}
    other = Foreign(given.config, {}, {**given.files, **config, **more})
    found = tokenizer_settings(other, VOCAB)
    assert found.get("tokenizer.chat_template") == expected
    assert loses_template(other, found) == (kind == "lost")
