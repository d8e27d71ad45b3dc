"""What a tokenizer promises: no text is lost, and it fits whatever it is given."""

import contextlib
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slimjax.data import load_tokenizer
from slimjax.data.tokenizer import BytesTokenizer, train_tokenizer
from slimjax.errors import ConfigError, DataError
from slimjax.text.sample import PassageSample

CODE = ["def double(x):\n    return x + x\n\n\nclass A:\n\tpass  # <s> <0x41> ▁\n"] * 9
TOKENIZERS = [BytesTokenizer(), train_tokenizer(CODE, 330)]
TEXTS = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("▁ \n"))
)

ODD = ["", " ", "▁", "▁ ▁▁", "▅", "\0", "\t\t", "  a  b ", "\r\n", "<s></s><pad><unk>"]
ODD += [
    "<0x41>",
    "🙂👩‍👩‍👧",
    "\ufeffx",
    "\ufffd\uffff",
    "ab \n" * 50_000,
    "a" * 100_000,
]
POOR = ["a", "aaaa" * 200, "ab " * 300, "\n", "\t" * 50, "汉", "▁", "0123456789" * 30]
POOR += ["".join(map(chr, range(0x4E00, 0x4E00 + 300)))]


@pytest.fixture(params=TOKENIZERS, ids=["bytes", "sentencepiece"])
def tokenizer(request):
    return request.param


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(text):
    for tokenizer in TOKENIZERS:
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode_bytes(ids) == text.encode()
        specials = [tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id]
        assert not np.isin(ids, specials).any()
        assert ids.size == 0 or ids.max() < tokenizer.vocab_size


@pytest.mark.parametrize("text", ODD)
def test_odd_and_long_texts_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(TEXTS, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_batch_is_its_texts_one_by_one(texts):
    for tokenizer in TOKENIZERS:
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
            np.testing.assert_array_equal(ids, tokenizer.encode(text))


def test_any_ids_decode_and_control_ids_say_nothing(tokenizer):
    ids = np.random.default_rng(0).integers(0, tokenizer.vocab_size, 500)
    raw = b"".join(tokenizer.decode_bytes([int(i)]) for i in ids)
    assert tokenizer.decode_bytes(ids) == raw
    assert tokenizer.decode(ids) == raw.decode("utf-8", "replace")
    assert tokenizer.decode([tokenizer.pad_id, 1, tokenizer.eos_id]) == ""
    assert tokenizer.decode([]) == ""
    with pytest.raises(DataError, match="is not among"):
        tokenizer.decode([tokenizer.vocab_size])


def test_half_a_character_is_refused(tokenizer):
    with pytest.raises(DataError, match=r"\\ud800"):
        tokenizer.encode("a\ud800")


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.vocab_size == tokenizer.vocab_size
    np.testing.assert_array_equal(loaded.encode(CODE[0]), tokenizer.encode(CODE[0]))


def test_a_damaged_file_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    for damaged in (
        b"",
        whole[:-1],
        whole[: len(whole) // 2],
        bytes(flipped),
        b"\xff{",
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            load_tokenizer(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)


def test_training_is_the_same_in_another_process():
    code = (
        "from slimjax.data.tokenizer import train_tokenizer\n"
        f"print(train_tokenizer({CODE!r}, 330).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == TOKENIZERS[1].fingerprint


def test_chinese_with_more_characters_than_room_trains_and_comes_back():
    draw = random.Random(0)
    common = [chr(0x4E00 + draw.randrange(20_000)) for _ in range(3000)]
    weights = [1 / (i + 1) for i in range(3000)]
    text = "".join(draw.choices(common, weights, k=60_000))
    lines = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    tokenizer = train_tokenizer(lines, 2048)
    assert tokenizer.vocab_size == 2048
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < 0.4 * len(text.encode())


@pytest.mark.parametrize("text", POOR, ids=lambda text: f"{text[:3]!r}x{len(text)}")
def test_the_largest_vocabulary_that_is_named_is_one_that_works(text):
    with pytest.raises(ConfigError) as caught:
        train_tokenizer([text], 4096)
    message = str(caught.value)
    assert message.startswith("config.data.vocab_size=4096 is more than")
    named = re.search(r"the largest is (\d+)\.", message)
    if named is None:
        assert "config.data.tokenizer=bytes" in message
        return
    tokenizer = train_tokenizer([text], int(named[1]))
    assert tokenizer.vocab_size == int(named[1])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    with pytest.raises(ConfigError, match=f"the largest is {named[1]}"):
        train_tokenizer([text], int(named[1]) + 1)


@example(CODE, 290)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(264, 290))
@settings(max_examples=60, deadline=None)
def test_any_text_trains_or_is_refused(texts, vocab_size):
    tokenizer = None
    with contextlib.suppress(ConfigError):
        tokenizer = train_tokenizer(texts, vocab_size)
    assert tokenizer is not None or texts != CODE
    if tokenizer is not None:
        assert tokenizer.vocab_size == vocab_size
        assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


def test_long_lines_are_learned_from_too():
    tokenizer = train_tokenizer(["".join(CODE) * 100], 330)
    assert len(tokenizer.encode(CODE[0])) < len(CODE[0]) / 2


def test_code_is_written_in_few_tokens():
    line = "    return x + x\n"
    assert len(TOKENIZERS[1].encode(line)) < len(line) / 2


def test_a_sample_depends_on_what_is_offered_but_not_on_its_order():
    texts = [f"{i} " * 300 for i in range(300)]
    samples = []
    for order in (texts, texts[::-1]):
        sample = PassageSample(max_bytes=50_000)
        for text in order:
            sample.add(text, 0.5)
        samples.append(sample.passages())
    assert samples[0] == samples[1]
    sizes = [len(passage.encode()) for passage, _ in samples[0]]
    assert 50_000 <= sum(sizes) <= 50_000 + 4096
    assert max(sizes) <= 4096


def test_pieces_of_words_cross_no_space_and_are_as_many_as_there_are():
    texts = ["the film was great and the film was long", "the plot was thin"] * 20
    tokenizer = train_tokenizer(texts, 4_096, within_words=True, at_most=True)
    assert 260 < tokenizer.vocab_size < 400
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode(texts[0])]
    assert pieces == ["the", *(f" {word}" for word in texts[0].split()[1:])]
    with pytest.raises(ConfigError, match="the largest is"):
        train_tokenizer(texts, 4_096, within_words=True)
